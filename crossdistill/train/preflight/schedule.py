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


def _num_steps(args: Any, num_rows: int | None) -> int | None:
    if args.max_steps > 0:
        return int(args.max_steps)
    if num_rows is None:
        return None
    responses = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    batch = responses // getattr(args, "num_generations", 1)
    return math.ceil(args.num_train_epochs * max(1, num_rows // batch) * getattr(args, "num_iterations", 1))
