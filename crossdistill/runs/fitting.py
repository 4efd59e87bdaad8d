"""What fits where: the memory of a pair of models under each engine, from their configurations alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from crossdistill.inspection.memory import Engine, Part, Phase, Setting, peaks
from crossdistill.inspection.model_files import read_config
from crossdistill.inspection.model_size import ModelSize
from crossdistill.runs.config import RunConfig
from crossdistill.runs.forecast import Sizes, setting_of
from crossdistill.runs.proposal import SHARE
from crossdistill.train.launch import Launch
from crossdistill.train.preflight.weight_files import read_headers, weight_files

GIB = 2**30
LENGTHS = tuple(2**power for power in range(4, 18))
"""Tokens of a response that are tried: 16 to 131,072."""
LORA = {"r": 16, "target_modules": "all-linear"}
_VLLM_BYTES = 2  # of a weight and of a number in its cache
_OF_TEACHER = "teacher: "


@dataclass(frozen=True)
class Devices:
    """Where a run is to fit.

    Attributes:
        count: GPUs, with a process on each.
        gib: memory of each, in GiB.
    """

    count: int
    gib: float

    @property
    def room(self) -> float:
        """Bytes of each that are planned with: the estimate leaves out what the allocator holds."""
        return SHARE * self.gib * GIB

    def engines(self) -> tuple[Engine, ...]:
        """Those that make sense there."""
        return (Engine.ONE,) if self.count == 1 else (Engine.DDP, Engine.FSDP, Engine.ZERO2, Engine.ZERO3)


@dataclass(frozen=True)
class Work:
    """What a step does on each GPU.

    Attributes:
        prompt_tokens: of the longest prompt.
        response_tokens: of the longest response.
        responses: sampled at once.
    """

    prompt_tokens: int = 512
    response_tokens: int = 1024
    responses: int = 8


@dataclass(frozen=True)
class Way:
    """One way to train a pair, and what it takes on each GPU.

    Attributes:
        is_lora: whether an adapter is trained, and the student's weights stay in bfloat16.
        engine: which.
        parts: with the teacher in the process and activation checkpointing.
        peak: bytes at the peak, with the teacher in the process.
        served: the same with the teacher behind a server.
        with_vllm: the same with the teacher behind a server and vLLM in the process.
        longest: (whether the teacher is served, whether activations are recomputed) -> tokens of the longest response
            of LENGTHS that fits, also into both contexts; None if none does. Empty if what a layer keeps is not known.
    """

    is_lora: bool
    engine: Engine
    parts: list[Part]
    peak: float
    served: float
    with_vllm: float
    longest: dict[tuple[bool, bool], int | None]

    def of(self, name: str) -> float:
        """Bytes of the parts whose names begin so, in the phase that takes most of them."""
        found = [
            sum(p.num_bytes for p in self.parts if p.phase is phase and p.name.startswith(name)) for phase in Phase
        ]
        return max(found)


class Pair:
    """Student and teacher, whose sizes are read once.

    Args:
        student: a folder or a hub id.
        teacher: the same.

    Raises:
        InputError: a configuration cannot be read.
    """

    def __init__(self, student: str, teacher: str) -> None:
        self._models = student, teacher
        self._context = min(map(_context, self._models))
        self._sizes = {is_lora: Sizes.of(self._run(Work(), is_lora)) for is_lora in (False, True)}

    def ways(self, devices: Devices, work: Work) -> Iterator[Way]:
        """All weights and an adapter, under each engine.

        Args:
            devices: where.
            work: of a step.
        """
        for is_lora, sizes in self._sizes.items():
            config = self._run(work, is_lora)
            for engine in devices.engines():
                launch = Launch(engine, engine, devices.count, precision="bf16")
                setting = setting_of(config, launch, work.prompt_tokens)
                lengths = [length for length in LENGTHS if work.prompt_tokens + length <= self._context]
                yield _way(setting, sizes, devices, work, is_lora, lengths)

    def shortfall(self, work: Work) -> str:
        """What to say if prompt and response of the step are longer than a model reads; else empty."""
        if work.prompt_tokens + work.response_tokens <= self._context:
            return ""
        return (
            f"one of the models reads at most {self._context:,} tokens, and prompt ({work.prompt_tokens:,}) and "
            f"response ({work.response_tokens:,}) are longer: give --prompt-tokens and --response-tokens."
        )

    def _run(self, work: Work, is_lora: bool) -> RunConfig:
        student, teacher = self._models
        train: dict[str, Any] = {
            "per_device_train_batch_size": work.responses,
            "max_completion_length": work.response_tokens,
        }
        if is_lora:
            train["model_init_kwargs"] = {"dtype": "bfloat16"}
        lora = LORA if is_lora else None
        return RunConfig(student=student, teacher=teacher, dataset="prompts.jsonl", train=train, lora=lora)


def weights_of(model: str) -> str:
    """What a configuration and, in a folder, the headers of its files say of a model's weights."""
    config = read_config(model)
    quantised = getattr(config, "quantization_config", None)
    told = ["quantised: counted as if it was not"] if quantised else []
    if any(Path(model).glob("*.safetensors")):
        found = [header for one in read_headers(weight_files(Path(model))).values() for header in one.values()]
        dtypes = ", ".join(sorted({header.dtype for header in found}))
        told.append(f"its files hold {sum(header.num_elements for header in found):,} numbers ({dtypes})")
    return "; ".join(told)


def _context(model: str) -> float:
    """Tokens that a model can read, as far as its configuration states a limit."""
    return getattr(read_config(model).get_text_config(), "max_position_embeddings", None) or inf


def _way(setting: Setting, sizes: Sizes, devices: Devices, work: Work, is_lora: bool, lengths: Sequence[int]) -> Way:
    parts = sizes.parts(setting)
    elsewhere = replace(setting, samples_here=False)
    return Way(
        is_lora,
        setting.engine,
        parts,
        _peak(parts),
        _peak(_without_teacher(parts)),
        _peak(_without_teacher(sizes.parts(elsewhere))) + vllm_bytes(setting, sizes.student),
        {} if sizes.kept(setting) is None else dict(_longest(setting, sizes, devices, work, lengths)),
    )


def vllm_bytes(setting: Setting, student: ModelSize) -> float:
    """The least that vLLM takes in the same process: weights, and a cache for the responses of a step."""
    return _VLLM_BYTES * (student.params + setting.rows * setting.length * student.cached)


def _longest(
    setting: Setting, sizes: Sizes, devices: Devices, work: Work, lengths: Sequence[int]
) -> Iterator[tuple[tuple[bool, bool], int | None]]:
    for is_checkpointed in (True, False):
        fits: dict[bool, int | None] = {False: None, True: None}
        for length in lengths:
            changed = replace(setting, length=work.prompt_tokens + length, is_checkpointed=is_checkpointed)
            parts = sizes.parts(changed)
            for is_served, found in ((False, parts), (True, _without_teacher(parts))):
                if _peak(found) <= devices.room:
                    fits[is_served] = length
        yield from (((is_served, is_checkpointed), length) for is_served, length in fits.items())


def _peak(parts: list[Part]) -> float:
    return max(peaks(parts).values())


def _without_teacher(parts: list[Part]) -> list[Part]:
    return [part for part in parts if not part.name.startswith(_OF_TEACHER)]
