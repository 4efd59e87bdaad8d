"""Weights of a checkpoint, put back into the student that is trained: all of them, by name and shape.

transformers loads what has the same names and warns of the rest. The names in a file are not always the model's: those
of a mixture of experts are saved expert by expert, and the experts of a resumed run would be those of its start.
"""

from functools import reduce
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from crossdistill.train.preflight.fit import check_fit
from crossdistill.train.preflight.weight_files import empty_tensors, weight_files
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
    what, kind = f"the checkpoint {str(checkpoint)!r}", type(student)
    weight_files(checkpoint)
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
