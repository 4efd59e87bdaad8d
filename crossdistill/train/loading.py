"""Weights are read here alone: those of students and teachers, in every command, by the same rules."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from trl.trainer.utils import create_model_from_path

from crossdistill.errors import InputError
from crossdistill.inspection.model_files import read_config
from crossdistill.ops.sharded import is_partitioned, loaded_whole
from crossdistill.phases import phase
from crossdistill.teachers import LocalTeacher, Teacher
from crossdistill.teachers.base import given_teacher
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.preflight.architecture import architecture_of
from crossdistill.train.preflight.fit import check_fit
from crossdistill.train.preflight.modalities import look_for_unreached
from crossdistill.train.preflight.models import hub_options
from crossdistill.train.preflight.weights import loading, without_reports


def load_model(what: str, name: str, options: Mapping[str, Any]) -> Any:
    """A model with exactly the weights of its files, by the class that its configuration names.

    Args:
        what: what messages call it, such as "the student 'my-model'".
        name: a folder or hub id.
        options: keyword arguments of ``from_pretrained``. The dtype is float32 by default and, unless there is a GPU
            and no device_map, the device the CPU, as for TRL's trainers.

    Raises:
        InputError: the weights cannot be read, or do not fit the architecture.
    """
    hub = {key: options[key] for key in ("revision", "trust_remote_code", "gguf_file") if key in options}
    config = read_config(name, **hub)
    architecture = architecture_of(what, config)
    phase(f"loading {what}")
    with loading(what), without_reports():
        model, info = create_model_from_path(
            name, architecture, **{**options, "ignore_mismatched_sizes": True, "output_loading_info": True}
        )
    check_fit(what, type(model).__name__, model.config, info)
    return model


# ---- by side --------------------------------------------------------------------------------------------------------


def student_options(args: Any, quantization_config: Any = None) -> dict[str, Any]:
    """Keyword arguments with which a student is loaded, as by TRL's trainers.

    Args:
        args: a configuration of TRL.
        quantization_config: as for TRL's trainer.

    Raises:
        InputError: the quantisation is given twice.
    """
    options = {"trust_remote_code": args.trust_remote_code, **(args.model_init_kwargs or {})}
    if quantization_config is not None:
        if "quantization_config" in options:
            raise InputError("quantization_config is given twice: leave it out of model_init_kwargs.")
        options["quantization_config"] = quantization_config
    if args.distributed_state.distributed_type in ("MULTI_GPU", "DEEPSPEED"):
        options["device_map"] = None  # "auto" would spread each process's model over all devices
    return options


def teacher_options(args: CrossTokenizerConfig) -> dict[str, Any]:
    """Keyword arguments with which a local teacher is loaded: in the dtype of its files unless the run names one.

    Args:
        args: the trainer's configuration.

    Raises:
        InputError: an unknown dtype.
    """
    given = cast(dict[str, Any], args.teacher_model_init_kwargs or {})
    dtype = given.get("dtype", "auto")
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise InputError(f"teacher_model_init_kwargs names the dtype {dtype!r}: give auto, float32 or bfloat16.")
    dtype = dtype if dtype == "auto" else getattr(torch, dtype)
    return {"device_map": None, **given, "dtype": dtype, **hub_options(args, "teacher")}


@contextmanager
def student_for_trl(student: Any, args: Any, quantization_config: Any = None) -> Iterator[dict[str, Any]]:
    """The arguments of a TRL trainer that name its model, while the trainer is made: the loaded student.

    Args:
        student: a folder, a hub id or a model; a model is given as it is.
        args: a configuration of TRL. Its options of a student that is loaded here are hidden from TRL, which would
            warn that they are ignored.
        quantization_config: as for TRL's trainer.

    Raises:
        InputError: the student's weights cannot be read, or do not fit its architecture.
    """
    if not isinstance(student, str):
        look_for_unreached(args, student.config)
        yield {"model": student, "quantization_config": quantization_config}
        return
    model = load_model(f"the student {student!r}", student, student_options(args, quantization_config))
    look_for_unreached(args, model.config)
    options, args.model_init_kwargs = args.model_init_kwargs, None
    try:
        yield {"model": model}
    finally:
        args.model_init_kwargs = options


def load_teacher(
    teacher: Any,
    label: str,
    tokenizer: Any,
    args: CrossTokenizerConfig,
    device: torch.device,
    template_kwargs: dict[str, Any] | None = None,
) -> Teacher:
    """A given Teacher as it is; a folder, a hub id or a model as a local teacher on `device`.

    Args:
        teacher: see :func:`given_teacher`; not a URL.
        label: what messages call it.
        tokenizer: the model's.
        args: the trainer's configuration.
        device: where the model computes, unless ``teacher_model_init_kwargs`` has a device_map.
        template_kwargs: keyword arguments of the model's chat template, for the responses that it writes.

    Raises:
        InputError: its weights cannot be read, or do not fit its architecture.
    """
    given = given_teacher(teacher)
    if given is not None:
        return given
    options = teacher_options(args)
    with loaded_whole():
        model = load_model(f"the {label} {teacher!r}", teacher, options) if isinstance(teacher, str) else teacher
    if is_partitioned(model):
        raise InputError(
            f"the weights of the {label} are partitioned by ZeRO-3, because it was loaded after the configuration was "
            "made: give its folder or hub id in place of the model, or load it first."
        )
    if options["device_map"] is None or model is teacher:
        model = moved(model, f"the {label}", device)
    text_tokens = args.text_tokens or ()
    return LocalTeacher(
        model,
        tokenizer,
        args.teacher_batch_tokens,
        text_tokens=text_tokens,
        template_kwargs=template_kwargs,
        keeps_states=args.teacher_states,
    )


def moved(model: Any, what: str, device: torch.device) -> Any:
    """A model on a device.

    Args:
        model: to move.
        what: what messages call it.
        device: where it computes.

    Raises:
        FindingError: it does not fit.
    """
    with loading(what):
        return model.to(device)
