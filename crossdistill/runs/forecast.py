"""What a run will be, from its file and its launch: nothing is loaded, no process is started."""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from crossdistill.errors import InputError
from crossdistill.inspection.activations import activations
from crossdistill.inspection.memory import ModelSize, Part, Setting, estimate
from crossdistill.inspection.model_files import is_url, read_config
from crossdistill.runs.config import RunConfig
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.launch import Launch
from crossdistill.train.preflight.architecture import architecture_of
from crossdistill.train.unsupported import UNSUPPORTED

_STATE_BYTES = {"8bit": 2.0, "adafactor": 0.0, "sgd": 0.0, "adagrad": 4.0, "rmsprop": 4.0, "lion": 4.0, "adam": 8.0}
"""Part of an optimizer's name -> bytes of its state a weight; the first that fits holds."""


@dataclass(frozen=True)
class Forecast:
    """What was computed.

    Attributes:
        sentences: what will run, and what to know of the estimate.
        parts: what takes memory on each GPU.
    """

    sentences: list[str]
    parts: list[Part]


def forecast(config: RunConfig, launch: Launch, prompt_tokens: int) -> Forecast:
    """What a run will be.

    Args:
        config: the run file.
        launch: how it is started.
        prompt_tokens: of the longest prompt.

    Raises:
        InputError: a model's configuration cannot be read, or an option is refused.
    """
    args = _Arguments(config.trainer_arguments())
    setting = _setting(args, launch, prompt_tokens)
    student, text = _student(config)
    weights, computes = _dtype(setting.weight_bytes), _dtype(setting.compute_bytes)
    kept = activations(text, computes if setting.engine.casts_itself else weights, computes)
    local = [table.model for table in config.named_teachers.values() if not is_url(table.model)]
    teachers = [_size("teacher", name) for name in local]
    sentences = [*launch.sentences(), *_sentences(args, setting, kept is None)]
    return Forecast(sentences, estimate(setting, student, kept, tuple(teachers)))


class _Arguments:
    """Options of the trainer as attributes, without making a configuration, which would look for its devices."""

    def __init__(self, given: dict[str, Any]):
        for name in given.keys() & UNSUPPORTED.keys():
            if given[name]:
                raise InputError(f"{name} cannot be set here: {UNSUPPORTED[name]}.")
        defaults = {
            field.name: field.default if field.default_factory is MISSING else field.default_factory()
            for field in fields(CrossTokenizerConfig)
            if field.init and (field.default is not MISSING or field.default_factory is not MISSING)
        }
        self._values = {**defaults, **given}

    def __getattr__(self, name: str) -> Any:
        return self._values[name]


def _setting(args: _Arguments, launch: Launch, prompt_tokens: int) -> Setting:
    is_bf16 = not args.fp16 if args.bf16 is None else args.bf16
    is_half = is_bf16 or args.fp16 or launch.precision in ("bf16", "fp16")
    loaded = _loaded_bytes(args.model_init_kwargs)
    engine = launch.engine
    accumulation, rows = args.gradient_accumulation_steps, args.per_device_train_batch_size
    return Setting(
        engine=engine,
        num_processes=launch.num_processes,
        weight_bytes=2 if engine.is_deepspeed and is_half else loaded,
        compute_bytes=2 if is_half else loaded,
        state_bytes=next((size for part, size in _STATE_BYTES.items() if part in str(args.optim).lower()), 8.0),
        rows=rows * accumulation,
        length=prompt_tokens + args.max_completion_length,
        micro_batch_tokens=args.micro_batch_tokens,
        micro_batch_rows=rows,
        accumulates=accumulation > 1,
        is_checkpointed=bool(args.activation_checkpointing) and args.gradient_checkpointing is not False,
        samples_here=not args.use_vllm,
        gathers_to_sample=args.ds3_gather_for_generation,
        teacher_tokens=args.teacher_batch_tokens,
        teacher_bytes=_loaded_bytes(args.teacher_model_init_kwargs, by_default=2),
    )


def _sentences(args: _Arguments, setting: Setting, lacks_activations: bool) -> Iterator[str]:
    yield (
        f"for a step each process samples {setting.rows} responses of up to {setting.length:,} tokens with their "
        f"prompts; a pass that trains has up to {setting.pass_tokens:,} tokens"
    )
    if lacks_activations:
        yield "activations are left out: this architecture cannot be run without numbers"
    if args.use_vllm and args.vllm_mode == "colocate":
        share = f"{args.vllm_gpu_memory_utilization:.0%}"
        yield f"vLLM in the same process takes {share} of the GPU (vllm_gpu_memory_utilization) in addition"


def _student(config: RunConfig) -> tuple[ModelSize, Any]:
    model = _without_weights("student", config.student)
    text = model.config.get_text_config()
    if config.lora is not None:
        model = get_peft_model(model, LoraConfig(**config.lora))
    return ModelSize.of(model), text


def _size(side: str, name: str) -> ModelSize:
    return ModelSize.of(_without_weights(side, name))


def _without_weights(side: str, name: str) -> Any:
    config = read_config(name)
    with torch.device("meta"):
        return architecture_of(f"the {side} {name!r}", config)._from_config(config)


def _loaded_bytes(options: dict[str, Any] | str | None, by_default: int = 4) -> int:
    """Of the weights of a model that is loaded with these options."""
    dtype = getattr(torch, str(options.get("dtype", "")), None) if isinstance(options, dict) else None
    return dtype.itemsize if isinstance(dtype, torch.dtype) else by_default


def _dtype(size: int) -> torch.dtype:
    return torch.float32 if size == 4 else torch.bfloat16
