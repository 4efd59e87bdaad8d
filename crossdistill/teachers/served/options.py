"""Settings for a teacher's server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from crossdistill.errors import InputError
from crossdistill.teachers.served.api import registry


class ServedOptions(BaseModel):
    """Settings of one server.

    The API key is not among them: it is read from the environment when a request is sent, and stored nowhere.

    Attributes:
        dialect: "auto", a name or an import path (:mod:`crossdistill.teachers.served.api.registry`).
        model: the model's name on the server; None for the only one that it serves.
        timeout_s: seconds for one answer.
        patience_s: seconds that a failing server is waited for, in all.
        wait_for_start: whether patience is had with a server that cannot be reached at the start, too.
        max_in_flight: requests sent at once.
        max_body_mib: largest answer that is accepted, in MiB.
        key_env: environment variable that holds the API key.
        ca_bundle: PEM file of certificates to trust instead of the usual ones.

    Example:
        >>> ServedOptions(max_in_flight=64).patience_s
        600.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dialect: str = Field(
        default=registry.AUTO,
        description="The API that the server offers; auto: the first dialect that passes the probe.",
    )
    model: str | None = Field(
        default=None, description="The model's name on the server; the only one that it serves by default."
    )
    timeout_s: float = Field(default=120.0, gt=0, description="For one answer, from the first byte to the last.")
    patience_s: float = Field(default=600.0, gt=0, description="How long a failing server is waited for, in all.")
    wait_for_start: bool = Field(
        default=False,
        description="Whether a server that cannot be reached at the start is waited for, too, since it may be loading.",
    )
    max_in_flight: int = Field(default=16, ge=1, description="Requests sent at once.")
    max_body_mib: float = Field(default=64.0, gt=0, description="Largest answer that is accepted.")
    key_env: str = Field(
        default="CROSSDISTILL_TEACHER_KEY", description="Environment variable that holds the API key, if there is one."
    )
    ca_bundle: Path | None = Field(default=None, description="Certificates to trust instead of the usual ones.")

    @field_validator("dialect")
    @classmethod
    def _check_dialect(cls, name: str) -> str:
        if not registry.is_known(name):
            names = ", ".join((registry.AUTO, *registry.available()))
            raise PydanticCustomError("dialect", "Input should be one of {names}, or an import path", {"names": names})
        return name


def served_options(values: Mapping[str, Any]) -> ServedOptions:
    """The settings in a table ``teacher_server``.

    Raises:
        InputError: an unknown field, or a value that it cannot have.

    Example:
        >>> served_options({"max_in_flight": 64}).max_in_flight
        64
    """
    try:
        return ServedOptions(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        known = ", ".join(ServedOptions.model_fields)
        raise InputError(f"teacher_server {key!r}: {first['msg'].lower()}; its fields are {known}.") from None
