"""What a run will be, from its file and its launch: nothing is loaded, no process is started."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.nn import Module
from transformers import PreTrainedConfig, PreTrainedModel

from crossdistill.inspection.activations import Activations, activations
from crossdistill.inspection.memory import Engine, Part, Setting, estimate, peaks
from crossdistill.inspection.model_files import read_config
from crossdistill.inspection.model_name import is_url
from crossdistill.inspection.model_size import ModelSize
from crossdistill.runs.config import RunConfig, build
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.launch import Launch
from crossdistill.train.preflight.architecture import architecture_of

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
    args = _arguments(config, launch)
    setting = _setting(args, launch, prompt_tokens, is_adapter=config.lora is not None)
    sizes = Sizes.of(config)
    sentences = [*launch.sentences(), *_sentences(args, setting, sizes.kept(setting) is None)]
    return Forecast(sentences, sizes.parts(setting))


def setting_of(config: RunConfig, launch: Launch, prompt_tokens: int) -> Setting:
    """How a run is launched and set, as far as it decides on memory.

    Args:
        config: the run file.
        launch: how it is started.
        prompt_tokens: of the longest prompt.

    Raises:
        InputError: an option is refused.
    """
    return _setting(_arguments(config, launch), launch, prompt_tokens, is_adapter=config.lora is not None)


@dataclass(frozen=True)
class Batch:
    """What is done at once.

    Attributes:
        rows: of a forward pass that trains.
        accumulation: passes of a step.
        length: most tokens of a response.
    """

    rows: int
    accumulation: int
    length: int


def peaks_of(config: RunConfig, launch: Launch, prompt_tokens: int, batches: Iterable[Batch]) -> Iterator[float]:
    """Bytes at the peak of a run, on each GPU, for each of several batches.

    Args:
        config: the run file; its own batch is not looked at.
        launch: how it is started.
        prompt_tokens: of the longest prompt.
        batches: to estimate.

    Raises:
        InputError: as :func:`forecast`.
    """
    setting, sizes = setting_of(config, launch, prompt_tokens), Sizes.of(config)
    for batch in batches:
        changed = replace(
            setting,
            rows=batch.rows * batch.accumulation,
            length=prompt_tokens + batch.length,
            micro_batch_rows=batch.rows,
            accumulates=batch.accumulation > 1,
        )
        yield max(peaks(sizes.parts(changed)).values())


class Sizes:
    """Sizes of the models of a run.

    Attributes:
        student: with its adapter, if it has one.
        teachers: the local ones.
    """

    def __init__(
        self, student: ModelSize, config: PreTrainedConfig, lora: dict[str, Any] | None, teachers: tuple[ModelSize, ...]
    ) -> None:
        self.student = student
        self.teachers = teachers
        self._config = config
        self._lora = lora
        self._kept: dict[tuple[torch.dtype, torch.dtype], Activations | None] = {}

    @classmethod
    def of(cls, config: RunConfig) -> "Sizes":
        """Of a run file's models.

        Raises:
            InputError: a configuration cannot be read.
        """
        student, text = _student(config)
        local = [table.model for table in config.named_teachers.values() if not is_url(table.model)]
        return cls(student, text, config.lora, tuple(_size("teacher", name) for name in local))

    def kept(self, setting: Setting) -> Activations | None:
        """What a layer of the student keeps for its backward pass; counted once for each pair of dtypes."""
        weights, computes = _dtype(setting.weight_bytes), _dtype(setting.compute_bytes)
        dtypes = computes if setting.engine.casts_itself else weights, computes
        if dtypes not in self._kept:
            self._kept[dtypes] = activations(self._config, *dtypes, lambda model: _adapted(model, self._lora))
        return self._kept[dtypes]

    def parts(self, setting: Setting) -> list[Part]:
        """What takes memory on each GPU."""
        return estimate(setting, self.student, self.kept(setting), self.teachers)


def _arguments(config: RunConfig, launch: Launch) -> "_Arguments":
    args = build(_Arguments, "train", config.trainer_arguments())
    args.is_on_cpu = launch.is_on_cpu
    args.check()
    return args


class _Arguments(CrossTokenizerConfig):
    """A configuration that is checked without looking for devices, which would start the run's engine."""

    is_on_cpu = False

    def __post_init__(self) -> None:
        self.report_to: list[str] = []  # loggers are those of the machine that will train
        if self.gradient_checkpointing is False:
            self.activation_checkpointing = False

    @property
    def device(self) -> torch.device:
        return torch.device("cpu" if self.is_on_cpu else "cuda")


def _setting(args: _Arguments, launch: Launch, prompt_tokens: int, is_adapter: bool) -> Setting:
    is_float32 = launch.is_on_cpu and args.use_cpu is None  # as cpu_options has it
    is_bf16 = not (args.fp16 or is_float32) if args.bf16 is None else args.bf16
    is_half = is_bf16 or args.fp16 or launch.precision in ("bf16", "fp16")
    loaded = _loaded_bytes(args.model_init_kwargs)
    engine = launch.engine
    held = 2 if engine.is_deepspeed and is_half else loaded
    # accelerate makes what FSDP2 trains float32 if products are in half precision, and PEFT its adapters
    is_raised = (is_half and engine is Engine.FSDP) or (is_adapter and not engine.is_deepspeed)
    accumulation, rows = args.gradient_accumulation_steps, args.per_device_train_batch_size
    return Setting(
        engine=engine,
        num_processes=launch.num_processes,
        weight_bytes=held,
        trained_bytes=4 if is_raised else held,
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
    model = without_weights("student", config.student)
    return ModelSize.of(_adapted(model, config.lora)), model.config.get_text_config()


def _adapted(model: PreTrainedModel, lora: dict[str, Any] | None) -> Module:
    return model if lora is None else get_peft_model(model, LoraConfig(**lora))


def _size(side: str, name: str) -> ModelSize:
    return ModelSize.of(without_weights(side, name))


def without_weights(side: str, name: str) -> Any:
    """A model of the architecture that a configuration names, on torch's device "meta": no weights are read.

    Args:
        side: "student" or "teacher", for messages.
        name: a folder or a hub id.

    Raises:
        InputError: the configuration cannot be read, or is of no causal language model.
    """
    config = read_config(name)
    with torch.device("meta"):
        return architecture_of(f"the {side} {name!r}", config)._from_config(config)


def _loaded_bytes(options: dict[str, Any] | str | None, by_default: int = 4) -> int:
    """Of the weights of a model that is loaded with these options."""
    dtype = getattr(torch, str(options.get("dtype", "")), None) if isinstance(options, dict) else None
    return dtype.itemsize if isinstance(dtype, torch.dtype) else by_default


def _dtype(size: int) -> torch.dtype:
    return torch.float32 if size == 4 else torch.bfloat16
