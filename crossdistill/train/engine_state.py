"""The state that an engine that shards writes into a checkpoint: a launch with another one cannot go on from it."""

from pathlib import Path

from crossdistill.findings import Kind, Severity, When
from crossdistill.train.fsdp_state import FSDPState
from crossdistill.train.zero_state import ZeroState

OTHER_STATE = Kind(
    "other_engine_state",
    Severity.REFUSAL,
    When.LOADING,
    "the checkpoint {checkpoint} was written {saved}, and this run is launched {now}, which cannot read its optimizer: "
    "launch it {saved}.",
    "the run would crash, or go on with a new optimizer",
)
_WITHOUT = "without FSDP or DeepSpeed"

EngineState = ZeroState | FSDPState


def check_state(checkpoint: Path, now: EngineState | None) -> None:
    """Check that a run can go on from the state of a whole checkpoint.

    Args:
        checkpoint: its folder.
        now: of the run; None without an engine that shards.

    Raises:
        FindingError: it cannot.
    """
    saved = ZeroState.saved_in(checkpoint) or FSDPState.saved_in(checkpoint)
    if saved != now:
        raise OTHER_STATE.error(checkpoint=checkpoint, saved=saved or _WITHOUT, now=now or _WITHOUT)
