"""What the sizes of a run's models tell of its settings: a learning rate that is far off, models that are swapped."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from peft import PeftModel
from torch import nn

from crossdistill.distill.routing import REFERENCE
from crossdistill.findings import Finding, Kind, Severity, When
from crossdistill.inspection.model_files import LIBRARY_ERRORS, read_config
from crossdistill.inspection.starting_values import known_rates, starting_values
from crossdistill.ops.sharded import full_shape
from crossdistill.train.preflight.architecture import architecture_of
from crossdistill.train.preflight.models import hub_options
from crossdistill.train.preflight.teachers import TeacherSetup

RATE_FAR_OFF = Kind(
    "learning_rate_far_off",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "learning_rate = {rate:g} is {how_far} {bound:g}, the {extreme} that is known {for_what} (docs/starting.md): "
    "begin with {start:g}, unless you have tried yours.",
    "too low a rate learns nothing in the steps that are paid for; too high a one ruins the student",
)
LARGER_THAN_TEACHER = Kind(
    "student_larger_than_teacher",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "the student has {student} weights and the {label} {teacher}: if the two were swapped, name them the other way "
    "round.",
    "a model that is better already learns from one that is worse",
)

FEWEST_KNOWN = 500_000
"""Weights below which no run is known, so that no rate is far off; the demo's student has 0.7M."""
FAR = 10
"""How many times beyond all known rates one is far off."""
MUCH_LARGER = 3
"""From how many times the weights of its teacher on a student is taken for one that was swapped."""
_LIKE_ADAMW = ("adamw", "paged_adamw", "apollo_adamw", "stable_adamw")


def size_findings(
    student: Any, teachers: Mapping[str, TeacherSetup], args: Any, has_adapter: bool, has_optimizer: bool
) -> Iterator[Finding]:
    """What the numbers of weights tell of the settings.

    Args:
        student: a folder, a hub id or a model.
        teachers: by name.
        args: the trainer's configuration.
        has_adapter: whether the run adds an adapter.
        has_optimizer: whether the caller brings an optimizer, with its rate.
    """
    size = num_weights(student, **hub_options(args, "student"))
    if size is None:
        return
    if not has_optimizer:
        yield from rate_findings(args, size, has_adapter or isinstance(student, PeftModel))
    hub, own = hub_options(args, "teacher"), {name: one for name, one in teachers.items() if name != REFERENCE}
    sizes = {one.label: num_weights(one.model, **hub) for one in own.values()}
    yield from swap_findings(size, {label: found for label, found in sizes.items() if found is not None})


def num_weights(model: Any, **hub: Any) -> int | None:
    """Weights of a model, of which none is read; None if that is not known, as of what is behind a server.

    Args:
        model: a folder, a hub id, a model or a Teacher.
        **hub: as :func:`crossdistill.train.preflight.models.hub_options` returns them.
    """
    if isinstance(model, nn.Module):
        return sum(math.prod(full_shape(weight)) for weight in model.parameters())
    if not isinstance(model, str):
        return None
    try:
        config = read_config(model, **hub)
        with torch.device("meta"):
            empty = architecture_of(f"the model {model!r}", config)._from_config(config)
    except LIBRARY_ERRORS:  # of code that comes with a model, say: whether it can be loaded is not asked here
        return None
    return sum(weight.numel() for weight in empty.parameters())


def rate_findings(args: Any, num_weights: int, is_lora: bool) -> Iterator[Finding]:
    """A learning rate far below or above all that are known for such a student.

    Args:
        args: the trainer's configuration; its optimizer is one whose rates are like those of AdamW, or it passes.
        num_weights: of the student.
        is_lora: whether an adapter is trained.
    """
    is_like_adamw = str(getattr(args.optim, "value", args.optim)).startswith(_LIKE_ADAMW)
    if num_weights < FEWEST_KNOWN or not is_like_adamw:
        return
    rates, rate = known_rates(num_weights, is_lora), args.learning_rate
    found = {"start": starting_values(num_weights, is_lora).learning_rate, "rate": rate}
    found["for_what"] = f"for {'an adapter of ' if is_lora else ''}a student of about {in_words(num_weights)} weights"
    if rate * FAR < min(rates) * (1 - _ROUNDING):
        share = f"1/{min(rates) / rate:,.0f} of"
        yield RATE_FAR_OFF(how_far=share, extreme="lowest", bound=min(rates), **found)
    if rate > FAR * max(rates) * (1 + _ROUNDING):
        times = f"{rate / max(rates):,.0f} times"
        yield RATE_FAR_OFF(how_far=times, extreme="highest", bound=max(rates), **found)


_ROUNDING = 1e-6


def swap_findings(student: int, teachers: Mapping[str, int]) -> Iterator[Finding]:
    """Teachers that are much smaller than their student.

    Args:
        student: weights of the student.
        teachers: label -> weights.

    Example:
        >>> [finding] = swap_findings(8_000_000_000, {"teacher": 1_500_000_000, "teacher 'b'": 7_000_000_000})
        >>> finding.message[:57]
        'the student has 8.0B weights and the teacher 1.5B: if the'
    """
    for label, size in teachers.items():
        if student > MUCH_LARGER * size:
            yield LARGER_THAN_TEACHER(student=in_words(student), label=label, teacher=in_words(size))


def in_words(num_weights: int) -> str:
    """A number of weights, as the names of models have it.

    Example:
        >>> [in_words(number) for number in (7_241_732_096, 134_515_008, 700_000)]
        ['7.2B', '135M', '700K']
    """
    for name, unit in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if num_weights >= unit:
            shown = num_weights / unit
            return f"{shown:.1f}{name}" if shown < 10 else f"{shown:.0f}{name}"
    return str(num_weights)
