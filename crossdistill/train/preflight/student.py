"""A student that is loaded, before it trains."""

from collections.abc import Iterator
from typing import Any

from crossdistill.findings import Finding
from crossdistill.ops import LMHead
from crossdistill.ops.sharded import gathered
from crossdistill.train.preflight.modalities import unreached_findings
from crossdistill.train.preflight.noise import silence
from crossdistill.train.preflight.trainable import trainable_findings


def made_ready(student: Any, args: Any, is_sharded: bool, has_optimizer: bool) -> Iterator[Finding]:
    """Check a student and switch its noise off.

    Args:
        student: the model that is trained, unwrapped; changed.
        args: the trainer's configuration.
        is_sharded: whether FSDP or DeepSpeed keep its weights.
        has_optimizer: whether the caller brings an optimizer, and answers for weights and their precision.

    Yields:
        What was found.

    Raises:
        InputError: the output head is not supported, or numbers are not finite.
    """
    if not has_optimizer:
        yield from trainable_findings(student, args, is_sharded)
    yield from unreached_findings(student)
    with gathered(student):
        LMHead.from_model(student).verify(student)
        silenced = list(silence(student, args))
    yield from silenced
