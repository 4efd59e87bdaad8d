"""Weights of a checkpoint, put back into the student that is trained: all of them, by name and shape.

transformers loads what has the same names and warns of the rest. The names in a file are not always the model's: those
of a mixture of experts are saved expert by expert, and the experts of a resumed run would be those of its start.
"""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from crossdistill.train.preflight.fit import check_fit
from crossdistill.train.preflight.headers import empty_tensors
from crossdistill.train.preflight.weight_files import weight_files
from crossdistill.train.preflight.weights import loading, without_reports

_ADAPTER = "adapter_model.safetensors"


def restore(student: PreTrainedModel, checkpoint: Path) -> None:
    """Load a checkpoint's weights into the student.

    Args:
        student: without wrappers and adapters.
        checkpoint: its folder.

    Raises:
        FindingError: files are missing or damaged, or their tensors are not those of the student.
    """
    if not _by_name(student, weight_files(checkpoint)):
        _by_class(student, checkpoint)


def _by_name(student: PreTrainedModel, files: Sequence[Path]) -> bool:
    """Load tensors whose names and shapes are the student's own, file by file; False if some are not."""
    if any(path.suffix != ".safetensors" for path in files):
        return False
    ours = {name: tuple(value.shape) for name, value in student.state_dict().items()}
    saved = {name: tuple(value.shape) for name, value in empty_tensors(files).items()}
    absent = ours.keys() - saved.keys() - set(getattr(student, "all_tied_weights_keys", None) or ())
    if absent or not saved.items() <= ours.items():
        return False
    for path in files:
        student.load_state_dict(load_file(path), strict=False)
    return True


def _by_class(student: PreTrainedModel, checkpoint: Path) -> None:
    """Load by way of transformers, which knows the names under which an architecture is saved."""
    what, kind = f"the checkpoint {str(checkpoint)!r}", type(student)
    dtype = reduce(torch.promote_types, {value.dtype for value in student.parameters() if value.is_floating_point()})
    options: dict[str, Any] = {"config": student.config, "dtype": dtype, "ignore_mismatched_sizes": True}
    with loading(what), without_reports():
        saved, info = kind.from_pretrained(checkpoint, output_loading_info=True, **options)
    check_fit(what, kind.__name__, student.config, info)
    student.load_state_dict(saved.state_dict())


def check_adapter(student: Any, checkpoint: Path) -> None:
    """Check that the adapter in a checkpoint is the one that is trained; other layouts of PEFT's pass.

    Args:
        student: with adapters of PEFT.
        checkpoint: its folder.

    Raises:
        FindingError: tensors are missing, unexpected or of another shape.
    """
    from peft import get_peft_model_state_dict

    path = checkpoint / _ADAPTER
    if not path.is_file():
        return
    ours = {name: tuple(value.shape) for name, value in get_peft_model_state_dict(student).items()}
    saved = {name: tuple(value.shape) for name, value in empty_tensors([path]).items()}
    info = {
        "missing_keys": ours.keys() - saved.keys(),
        "unexpected_keys": saved.keys() - ours.keys(),
        "mismatched_keys": {(name, saved[name], ours[name]) for name in ours.keys() & saved.keys()
                            if saved[name] != ours[name]},
    }  # fmt: skip
    check_fit(f"the adapter in {str(checkpoint)!r}", "the adapter that is trained", student.config, info)
