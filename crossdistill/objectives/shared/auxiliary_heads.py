"""What a method trains beside the student, and throws away: a submodule of the student while it is trained.

So the optimizer, PEFT, DDP and FSDP see it. What is saved of the student, or sent to where it samples, leaves it out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from crossdistill.errors import InputError

NAME = "distillation_companion"
"""Its name in the student."""
FILE = f"{NAME}.safetensors"


def attach(student: nn.Module, companion: nn.Module) -> None:
    """Hang it in; it takes the place of one that hangs there."""
    student.add_module(NAME, companion)


def companion_of(student: nn.Module) -> nn.Module | None:
    found: nn.Module | None = getattr(student, NAME, None)
    return found


@contextmanager
def set_aside(student: nn.Module) -> Iterator[None]:
    """Within it the student is plain."""
    companion = student._modules.pop(NAME, None)
    try:
        yield
    finally:
        if companion is not None:
            attach(student, companion)


def plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of the student without it."""
    return {name: value for name, value in state.items() if NAME not in name.split(".")}


def save(student: nn.Module, folder: Path, is_writer: bool = True) -> None:
    """Into a checkpoint's folder, if there is one; every process must ask where FSDP2 shards it."""
    companion = companion_of(student)
    if companion is None:
        return
    state = {name: whole(value.detach()).cpu().contiguous() for name, value in companion.state_dict().items()}
    if is_writer:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(state, folder / FILE)


def load(student: nn.Module, folder: Path) -> None:
    """From a checkpoint's folder, before it is sharded. Raises InputError where the checkpoint has none that fits."""
    companion = companion_of(student)
    if companion is None:
        return
    if not (folder / FILE).exists():
        raise InputError(
            f"the checkpoint {str(folder)!r} holds no {FILE}, which this objective trains beside the student: go on "
            "with the objective that the run began with, or begin a new run."
        )
    state = load_file(folder / FILE)
    expected = {name: value.shape for name, value in companion.state_dict().items()}
    if {name: value.shape for name, value in state.items()} != expected:
        raise InputError(
            f"{FILE} in {str(folder)!r} is of other sizes than the objective's options ask for: go on with the options "
            "that the run began with."
        )
    companion.load_state_dict(state)


def whole(value: Tensor) -> Tensor:
    """All of a parameter where FSDP2 holds shards of it; differentiable."""
    full: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return full
