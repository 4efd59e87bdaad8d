"""A run file for a pair, from what inspection found and from settings that worked: values, each with its reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import psutil
import torch

from crossdistill.chat import mismatch_findings, stop_ids, template_effects
from crossdistill.inspection.choice import choose
from crossdistill.inspection.memory import Engine
from crossdistill.inspection.model_info import ModelInfo
from crossdistill.inspection.pair import Inspection
from crossdistill.inspection.starting_values import StartingValues, starting_values
from crossdistill.objectives import VocabPair
from crossdistill.runs.config import RunConfig, validated
from crossdistill.runs.forecast import Batch, peaks_of, without_weights
from crossdistill.signal import Signal
from crossdistill.train.launch import Launch

PROMPT_TOKENS = 1024
"""Room for a prompt: that of the paper."""
SHORTEST = 256
"""Tokens of a response that are proposed at least: those of the small runs were set by the patience of a CPU."""
SHARE = 0.9
"""Of the memory, that is planned with: the estimate leaves out what the allocator holds."""
_MOST_ROWS = 8
_WITHOUT_REASONING = {"enable_thinking": False}
_GIB = 2**30


@dataclass(frozen=True)
class Entry:
    """A key of the file.

    Attributes:
        table: in which it stands; empty at the top.
        key: its name.
        value: plain data.
        why: it has this value; may be empty.
    """

    table: str
    key: str
    value: Any
    why: str = ""


_ON_CPU = (Entry("train", "use_cpu", True, "no GPU was found"), Entry("train", "bf16", False))


@dataclass(frozen=True)
class Device:
    """What the run will be trained on.

    Attributes:
        num_bytes: of its memory.
        is_cpu: whether it is this machine's processor.
    """

    num_bytes: float
    is_cpu: bool

    @classmethod
    def here(cls) -> "Device":
        """The first accelerator of this machine, or its processor."""
        if torch.cuda.is_available():
            return cls(float(torch.cuda.get_device_properties(0).total_memory), is_cpu=False)
        return cls(float(psutil.virtual_memory().total), is_cpu=not torch.accelerator.is_available())


def propose(
    models: tuple[ModelInfo, ModelInfo], pair: Inspection, dataset: str, is_lora: bool, device: Device
) -> list[Entry]:
    """The keys of a run file for a pair.

    Args:
        models: student and teacher, read without weights.
        pair: what inspection found of them.
        dataset: the prompts.
        is_lora: whether an adapter is trained.
        device: on which.

    Raises:
        InputError: a run would refuse one of the models.
    """
    student, teacher = models
    params = sum(weight.numel() for weight in without_weights("student", student.name).parameters())
    values = starting_values(params, is_lora)
    entries = [
        Entry("", "student", student.name),
        Entry("", "teacher", teacher.name),
        Entry("", "dataset", dataset),
        *_objective(models, pair),
        *_optimisation(values),
        *_responses(models, pair),
        *(_ON_CPU if device.is_cpu else []),
        *(_adapter(values) if is_lora else []),
    ]
    return [*entries, *_batch(entries, models, values, device)]


def values_of(entries: Sequence[Entry]) -> dict[str, Any]:
    """The content of the file, as it is read again."""
    content: dict[str, Any] = {}
    for entry in entries:
        table = content.setdefault(entry.table, {}) if entry.table else content
        table[entry.key] = entry.value
    return content


def _objective(models: tuple[ModelInfo, ModelInfo], pair: Inspection) -> Iterator[Entry]:
    stops = (stop_ids(model.tokenizer, model.declared_stops) for model in models)
    vocabs = VocabPair(models[0].vocab, models[1].vocab, *stops)
    choice = choose(Signal.DENSE, vocabs, lambda: pair.total)
    yield Entry("", "objective", choice.objective, f'the choice of "auto": {choice.reason}')
    for name, value in choice.options.items():
        yield Entry("objective_options", name, value)


def _optimisation(values: StartingValues) -> Iterator[Entry]:
    steps = values.steps or 100
    source = f"that of {values.pair} ({values.outcome}; {values.source})"
    yield Entry("train", "learning_rate", values.learning_rate, source)
    yield Entry("train", "lr_scheduler_type", "constant_with_warmup")
    yield Entry("train", "warmup_steps", min(10, max(1, steps // 8)))
    yield Entry("train", "max_steps", steps, f"as many as {values.pair} had" if values.steps else "")
    yield Entry("train", "logging_steps", 1)
    yield Entry("train", "save_steps", max(1, steps // 4))
    yield Entry("train", "save_total_limit", 2)


def _responses(models: tuple[ModelInfo, ModelInfo], pair: Inspection) -> Iterator[Entry]:
    """How responses begin and end, and what in them is text."""
    if not pair.teacher.stops or not pair.teacher.has_template:
        why = "the teacher has no chat template of its own: a base model never learned to end a turn"
        if not pair.teacher.stops:
            why = "the teacher declares no token that ends a turn"
        yield Entry("train", "stop_unit", False, why)
    ours, theirs = pair.student.thinking, pair.teacher.thinking
    tags = [tag for tag in ours if "control" in (ours[tag], theirs[tag])]
    if tags:
        yield Entry("train", "text_tokens", tags, "control tokens of a tokenizer, and words of a response")
    names = ("chat_template_kwargs", "teacher_chat_template_kwargs")
    for key, kwargs in zip(names, _template_kwargs(models, pair), strict=True):
        if kwargs:
            yield Entry("train", key, kwargs, "so that a response begins alike for both")


def _template_kwargs(models: tuple[ModelInfo, ModelInfo], pair: Inspection) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those that were given; if responses then begin differently, the first ones under which they do not."""
    given = tuple(dict(model.template_kwargs or {}) for model in models)
    if mismatch_findings(pair.student.effects, pair.teacher.effects):
        for changes in product(({}, _WITHOUT_REASONING), repeat=2):
            tried = [{**own, **change} for own, change in zip(given, changes, strict=True)]
            ours, theirs = map(template_effects, (model.tokenizer for model in models), tried)
            if not mismatch_findings(ours, theirs):
                return tried[0], tried[1]
    return given[0], given[1]


def _adapter(values: StartingValues) -> Iterator[Entry]:
    assert values.rank is not None
    yield Entry("lora", "r", values.rank, f"that of {values.pair}")
    yield Entry("lora", "lora_alpha", 32)
    yield Entry("lora", "target_modules", "all-linear")


def _batch(
    entries: Sequence[Entry], models: tuple[ModelInfo, ModelInfo], values: StartingValues, device: Device
) -> list[Entry]:
    """The largest batch and length, up to those of the starting values, that the estimate finds room for."""
    prompt_tokens, length = _lengths(models, values)
    config = validated(RunConfig, values_of(entries))
    launch = Launch(Engine.ONE, Engine.ONE, is_on_cpu=device.is_cpu)
    room, batches = SHARE * device.num_bytes, list(_candidates(values.responses, length))
    found = list(zip(batches, peaks_of(config, launch, prompt_tokens, batches), strict=True))
    batch, peak = next(((batch, peak) for batch, peak in found if peak <= room), found[-1])
    memory = f"about {peak / _GIB:.1f} of {device.num_bytes / _GIB:.0f} GiB"
    told = f"{memory}, with prompts of up to {prompt_tokens:,} tokens"
    if peak > room:
        told = f"the smallest, and still {told}: take more GPUs (docs/several-gpus.md), or --lora"
    source = f"{values.pair} had {values.responses:,} responses a step of {values.length or length:,} tokens"
    return [
        Entry("train", "max_completion_length", batch.length, f"{source}; set what an answer to your prompts needs"),
        Entry("train", "per_device_train_batch_size", batch.rows, told),
        Entry(
            "train",
            "gradient_accumulation_steps",
            batch.accumulation,
            f"{batch.rows * batch.accumulation} responses a step; divide by the number of processes",
        ),
    ]


def _lengths(models: tuple[ModelInfo, ModelInfo], values: StartingValues) -> tuple[int, int]:
    """Tokens of prompt and response that both contexts have room for."""
    wanted = max(values.length or SHORTEST, SHORTEST)
    context = min((model.context for model in models if model.context), default=PROMPT_TOKENS + wanted)
    length = min(wanted, max(1, context // 2))
    return min(PROMPT_TOKENS, context - length), length


def _candidates(responses: int, length: int) -> Iterator[Batch]:
    """Ever smaller ones: fewer rows in a pass, then fewer responses in a step, then shorter ones."""
    lengths = [length >> shift for shift in range(8) if length >> shift >= min(SHORTEST, length)]
    for shorter in lengths:
        for count in (responses >> shift for shift in range(4) if responses >> shift >= 1):
            for rows in (_MOST_ROWS, 4, 2, 1):
                if count % rows == 0:
                    yield Batch(rows, count // rows, shorter)
