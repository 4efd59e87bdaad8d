"""The state that FSDP writes into a checkpoint, in one of two layouts: who can go on from it."""

from dataclasses import dataclass
from pathlib import Path

_WEIGHTS = "pytorch_model_fsdp"  # a folder of shards, or a file with all


@dataclass(frozen=True)
class FSDPState:
    """How FSDP writes a run's state; any number of processes can read it.

    Attributes:
        is_sharded: whether each process writes its part: SHARDED_STATE_DICT.

    Example:
        >>> str(FSDPState(is_sharded=True))
        'with FSDP and SHARDED_STATE_DICT'
    """

    is_sharded: bool

    @classmethod
    def saved_in(cls, checkpoint: Path) -> "FSDPState | None":
        """That of a checkpoint; None if FSDP did not write it."""
        if (checkpoint / f"{_WEIGHTS}.bin").is_file():
            return cls(is_sharded=False)
        return cls(is_sharded=True) if any(checkpoint.glob(f"{_WEIGHTS}*")) else None

    def __str__(self) -> str:
        return f"with FSDP and {'SHARDED' if self.is_sharded else 'FULL'}_STATE_DICT"
