"""Modules that an objective trains together with the student and that are thrown away afterwards.

They are a submodule of the student while it is trained, so that the optimizer, PEFT, DDP and FSDP see them. Whatever is
saved of the student, or sent to the engine that samples from it, leaves them out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from crossdistill.errors import InputError
from crossdistill.ops.sharded import full_tensor, gathered

NAME = "auxiliary_heads"
"""Name of the submodule in the student."""
FILE = f"{NAME}.safetensors"


def attach(student: nn.Module, heads: nn.Module) -> None:
    """Attach the auxiliary heads, replacing any that are attached."""
    student.add_module(NAME, heads)


def auxiliary_heads_of(student: nn.Module) -> nn.Module | None:
    """The heads that are attached to the student, if any."""
    found: nn.Module | None = getattr(student, NAME, None)
    return found


@contextmanager
def detached(student: nn.Module) -> Iterator[None]:
    """Inside this context the student has no auxiliary heads."""
    heads = student._modules.pop(NAME, None)
    try:
        yield
    finally:
        if heads is not None:
            attach(student, heads)


def without_heads(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of the student without the entries of its auxiliary heads."""
    return {name: value for name, value in state.items() if NAME not in name.split(".")}


def save(student: nn.Module, folder: Path, is_writer: bool = True) -> None:
    """Save the auxiliary heads, if there are any, to a checkpoint's folder.

    Every process must call it, because FSDP2 shards the heads; the one with `is_writer` writes the file.
    """
    heads = auxiliary_heads_of(student)
    if heads is None:
        return
    with gathered(heads):
        state = {name: full_tensor(value.detach()).cpu().clone() for name, value in heads.named_parameters()}
    if is_writer:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(state, folder / FILE)


def load(student: nn.Module, folder: Path) -> None:
    """Load the auxiliary heads from a checkpoint's folder, before the model is sharded.

    Raises:
        InputError: the checkpoint has no auxiliary heads, or heads of other sizes.
    """
    heads = auxiliary_heads_of(student)
    if heads is None:
        return
    if not (folder / FILE).exists():
        raise InputError(
            f"the checkpoint {str(folder)!r} has no {FILE}, which this objective trains together with the student: "
            "resume with the objective that the run began with, or begin a new run."
        )
    state = load_file(folder / FILE)
    expected = {name: value.shape for name, value in heads.state_dict().items()}
    if {name: value.shape for name, value in state.items()} != expected:
        raise InputError(
            f"{FILE} in {str(folder)!r} does not have the sizes that the objective's options ask for: resume with the "
            "options that the run began with."
        )
    heads.load_state_dict(state)
