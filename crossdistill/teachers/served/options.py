"""How a teacher's server is spoken to."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ServedOptions(BaseModel):
    """Settings of one server.

    The API key is none of them: it is read from the environment when a request is sent, and kept nowhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dialect: Literal["auto", "vllm", "completions"] = Field(
        default="auto", description="What the server speaks; auto: the first that passes the probe."
    )
    model: str | None = Field(default=None, description="The model's name there; the only one served, where omitted.")
    timeout_s: float = Field(default=120.0, gt=0, description="For one answer, from the first byte to the last.")
    patience_s: float = Field(default=600.0, gt=0, description="How long a failing server is waited for, in all.")
    max_in_flight: int = Field(default=16, ge=1, description="Requests sent at once.")
    max_body_mib: float = Field(default=64.0, gt=0, description="Largest answer that is accepted.")
    key_env: str = Field(
        default="CROSSDISTILL_TEACHER_KEY", description="Environment variable that holds the API key, if there is one."
    )
    ca_bundle: Path | None = Field(default=None, description="Certificates to trust instead of the usual ones.")
