"""Whether the learning rate gets to where the configuration says."""

import math
from collections.abc import Iterator
from typing import Any

from crossdistill.findings import Finding, Kind, Severity, When

WARMUP_OUTLASTS_RUN = Kind(
    "warmup_outlasts_run",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "the warm-up has {warmup} steps and the run {steps}, so that the last step takes {share:.0%} of learning_rate: "
    "lower warmup_steps, or train for longer.",
    "the student hardly learns; a run of one step not at all, because the first step's rate is 0",
)

LONGER_THAN_PLANNED = Kind(
    "longer_than_planned",
    Severity.WARNING,
    When.LOADING,
    "the run was planned for {was} steps and now goes on for longer: from here on the learning rate follows the "
    "{schedule} schedule of the longer run, so the result is not that of a run that had this length from its first "
    "step.",
    "the learning rate jumps, up again if the shorter schedule had lowered it",
)

_WITHOUT_WARMUP = ("constant", "reduce_lr_on_plateau")


def schedule_findings(args: Any, num_rows: int | None) -> Iterator[Finding]:
    """What keeps the learning rate low.

    Args:
        args: the trainer's configuration.
        num_rows: rows of the training data; None of a stream.

    Yields:
        A warning if the warm-up is not over before the last step.
    """
    steps = _num_steps(args, num_rows)
    if steps is None or args.lr_scheduler_type in _WITHOUT_WARMUP:
        return
    warmup = args.get_warmup_steps(steps)
    if warmup >= steps:
        yield WARMUP_OUTLASTS_RUN(warmup=warmup, steps=steps, share=(steps - 1) / warmup)


def longer_findings(args: Any, state: Any) -> Iterator[Finding]:
    """What a length that grew changes in a resumed run.

    Args:
        args: the trainer's configuration.
        state: of the trainer, from the checkpoint.

    Yields:
        A warning, unless the schedule does not depend on the length.
    """
    by_epochs = args.max_steps <= 0
    grew = args.num_train_epochs > state.num_train_epochs if by_epochs else args.max_steps > state.max_steps
    schedule = getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)
    if grew and schedule not in (*_WITHOUT_WARMUP, "constant_with_warmup"):
        yield LONGER_THAN_PLANNED(was=state.max_steps, schedule=schedule)


def _num_steps(args: Any, num_rows: int | None) -> int | None:
    if args.max_steps > 0:
        return int(args.max_steps)
    if num_rows is None:
        return None
    responses = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    batch = responses // getattr(args, "num_generations", 1)
    return math.ceil(args.num_train_epochs * max(1, num_rows // batch) * getattr(args, "num_iterations", 1))
