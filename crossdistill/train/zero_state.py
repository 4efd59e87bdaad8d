"""The state that DeepSpeed writes into a checkpoint, divided among the processes: who can go on from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import is_zipfile

_TAG = "latest"  # the file in which DeepSpeed names the folder of the state
_OPTIMIZER = "*zero_pp_rank_*_optim_states.pt"
_WEIGHTS = "*mp_rank_*_model_states.pt"
_OF_A_PROCESS = ("zero_pp_rank_", "bf16_zero_pp_rank_")


@dataclass(frozen=True)
class ZeroState:
    """How DeepSpeed divides a run's state.

    Attributes:
        num_processes: that each have a part of the optimizer.
        has_parts_of_weights: whether weights are divided as well: ZeRO-3.
        is_bf16: whether they are bfloat16.

    Example:
        >>> str(ZeroState(8, has_parts_of_weights=True, is_bf16=True))
        'with ZeRO-3 in bfloat16 on 8 processes'
    """

    num_processes: int
    has_parts_of_weights: bool
    is_bf16: bool

    @classmethod
    def saved_in(cls, checkpoint: Path) -> "ZeroState | None":
        """That of a checkpoint; None if DeepSpeed did not write it."""
        folder = state_folder(checkpoint)
        if folder is None:
            return None
        parts = [path.name for path in folder.glob(_OPTIMIZER)]
        is_bf16 = any(name.startswith("bf16_") for name in parts)
        return cls(len(parts), any(folder.glob(_OF_A_PROCESS[0] + _WEIGHTS)), is_bf16)

    def __str__(self) -> str:
        stage, dtype = ("3" if self.has_parts_of_weights else "2"), (" in bfloat16" if self.is_bf16 else "")
        return f"with ZeRO-{stage}{dtype} on {self.num_processes} processes"


def state_folder(checkpoint: Path) -> Path | None:
    """The folder in a checkpoint with DeepSpeed's state; None if there is none."""
    tag = checkpoint / _TAG
    return checkpoint / tag.read_text(encoding="utf-8").strip() if tag.is_file() else None


def zero_faults(checkpoint: Path) -> Iterator[str]:
    """Why DeepSpeed's state in a checkpoint is not whole, as clauses: each process writes parts of it."""
    folder = state_folder(checkpoint) or checkpoint
    states = sorted(checkpoint.glob("rng_state*.pth"))
    optimizer, weights = (sorted(folder.glob(pattern)) for pattern in (_OPTIMIZER, _WEIGHTS))
    expected = max(1, len(states), len(optimizer))
    are_whole = weights and not any(path.name.startswith(_OF_A_PROCESS) for path in weights)
    parts = {"random states": states, "optimizer": optimizer, **({} if are_whole else {"weights": weights})}
    for what, files in parts.items():
        if len(files) < expected:
            yield f"it has the {what} of {len(files)} processes of {expected}"
    yield from (
        f"its {path.relative_to(checkpoint)} is damaged" for path in optimizer + weights if not is_zipfile(path)
    )
