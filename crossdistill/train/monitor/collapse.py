"""Collapse detectors: each recognises one way in which a run goes wrong, and says what to try.

A detector compares the first blocks of rollouts of a run with the latest ones. A healthy run changes too: under an
instruct teacher the samples of a base student grow more certain and longer. So a change counts only if it passes a wide
bound and SIGMAS standard errors.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crossdistill.train.monitor.rollout_sums import RolloutSums

Blocks = Sequence[RolloutSums]
Sum = Callable[[RolloutSums], float]

SIGMAS = 4.0
"""Standard errors that a change must exceed."""
MIN_BLOCKS = 6
"""Fewest blocks from which the standard error of a metric is estimated."""
MAX_REMAINDER = 1 / 4
"""A share that falls to this part of its start, or below, has collapsed."""
MIN_DIGITS = 0.005
"""Smallest share of digits in the bytes at the start from which a collapse can be judged."""
MIN_WHITE_SPACE = 0.02
"""Likewise of white space."""
MIN_STOPPED = 0.2
"""Likewise of responses that stop."""
GAP_GROWTH = 0.5
"""Nats per byte by which the gap on digits must grow, by itself and relative to the gap on all else."""
WHITE_SPACE_GROWTH = (2.0, 0.2)
"""White space floods the responses if its share is this many times the start and this much of all bytes above it."""
LENGTH_GROWTH = 3.0
"""Responses explode if they are this many times as long as at the start, whether or not they still stop."""
MIN_ENTROPY = 0.1
"""Nats per token. An entropy below it at the start cannot collapse, and one above it has not collapsed."""
MAX_ENTROPY_REMAINDER = 1 / 5
"""An entropy that falls to this part of its start, or below, has collapsed."""

_WHAT_TO_TRY = {
    "numerals": "a lower learning_rate; another credit (objective_options) or an objective that compares distributions "
    "instead of samples. `crossdistill align --run` shows numbers: does the teacher split them differently, or does it "
    "consider the student's wrong?",
    "white_space": "a lower learning_rate; templates that begin a response alike on both sides. `crossdistill align "
    "--run` shows white space, `crossdistill inspect` whether the teacher's tokenizer rewrites it.",
    "length": "stop_unit = true with an instruct teacher, stop_unit = false with one that does not end its turns; a "
    "lower learning_rate or max_completion_length. A teacher that writes at such length itself explains it.",
    "entropy": "a lower learning_rate; fewer num_iterations; more and more varied prompts; a divergence that is not "
    "mode-seeking (forward, jsd) if the objective has one. log_completions shows repetition.",
}


# ---- ratios over blocks ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RatioEstimate:
    """A ratio of two sums over blocks of rollouts.

    Attributes:
        value: the ratio.
        influences: what each block adds to its error; their squares sum to its variance.
    """

    value: float
    influences: tuple[float, ...]

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(sum(influence * influence for influence in self.influences))

    def minus(self, other: "RatioEstimate") -> "RatioEstimate":
        """The difference of two ratios over the same blocks."""
        pairs = zip(self.influences, other.influences, strict=True)
        return RatioEstimate(self.value - other.value, tuple(mine - theirs for mine, theirs in pairs))

    def differs(self, other: "RatioEstimate", sigmas: float) -> bool:
        """Whether the same ratio over other blocks differs by more than `sigmas` standard errors."""
        return abs(self.value - other.value) > sigmas * math.hypot(self.error, other.error)


def ratio(blocks: Blocks, top: Sum, bottom: Sum) -> RatioEstimate | None:
    """The ratio of two sums over blocks, with its standard error.

    Args:
        blocks: of rollouts.
        top: the numerator.
        bottom: the denominator; 0 or more in each block.

    Returns:
        The ratio; None if fewer than MIN_BLOCKS have a denominator above 0.

    Example:
        >>> blocks = [RolloutSums(responses=8, stopped=stopped) for stopped in (8, 7, 8, 7, 8, 7)]
        >>> ratio(blocks, lambda sums: sums.stopped, lambda sums: sums.responses).value
        0.9375
    """
    parts = [(top(block), bottom(block)) for block in blocks]
    num_known = sum(size > 0 for _, size in parts)
    if num_known < MIN_BLOCKS:
        return None
    total = sum(size for _, size in parts)
    value = sum(part for part, _ in parts) / total
    scale = math.sqrt(num_known / (num_known - 1)) / total
    return RatioEstimate(value, tuple(scale * (part - value * size) for part, size in parts))


_Ratio = tuple[Sum, Sum]
_DIGITS: _Ratio = (lambda sums: sums.digit_bytes, lambda sums: sums.sampled_bytes)
_WHITE_SPACE: _Ratio = (lambda sums: sums.white_space_bytes, lambda sums: sums.sampled_bytes)
_LENGTH: _Ratio = (lambda sums: sums.sampled_tokens, lambda sums: sums.responses)
_STOPPED: _Ratio = (lambda sums: sums.stopped, lambda sums: sums.responses)
_ENTROPY: _Ratio = (lambda sums: sums.sampled_nats, lambda sums: sums.sampled_tokens)
_DIGIT_GAP: _Ratio = (lambda sums: sums.digit_gap_nats, lambda sums: sums.digit_gap_bytes)
_OTHER_GAP: _Ratio = (
    lambda sums: sums.gap_nats - sums.digit_gap_nats,
    lambda sums: sums.gap_bytes - sums.digit_gap_bytes,
)


def _both(start: Blocks, recent: Blocks, metric: _Ratio) -> tuple[RatioEstimate | None, RatioEstimate | None]:
    return ratio(start, *metric), ratio(recent, *metric)


def _is_real(was: RatioEstimate, now: RatioEstimate) -> bool:
    return was.differs(now, SIGMAS)


# ---- detectors ------------------------------------------------------------------------------------------------------


def numerals(start: Blocks, recent: Blocks) -> str | None:
    """Digits vanish from the samples, or the gap on them widens more than that on all else."""
    was, now = _both(start, recent, _DIGITS)
    lost = was and now and was.value >= MIN_DIGITS and now.value <= MAX_REMAINDER * was.value and _is_real(was, now)
    if not lost and not _is_digit_gap_wider(start, recent):
        return None
    gaps = (_both(start, recent, metric) for metric in (_DIGIT_GAP, _OTHER_GAP))
    names = ("teacher_gap/digits", "the gap on all else")
    found = [_change(name, *gap, "{:.2f} nats per byte") for name, gap in zip(names, gaps, strict=True)]
    return _message("numerals are being suppressed", [_change("share/digits", was, now, "{:.2%}"), *found], "numerals")


def _is_digit_gap_wider(start: Blocks, recent: Blocks) -> bool:
    """Whether the gap on digits grew, by itself and relative to all else: learning all else first is healthy."""
    was, now = _both(start, recent, _DIGIT_GAP)
    other_was, other_now = _both(start, recent, _OTHER_GAP)
    if was is None or now is None or other_was is None or other_now is None:
        return False
    if now.value < GAP_GROWTH or now.value < was.value + GAP_GROWTH or not _is_real(was, now):
        return False
    before, after = was.minus(other_was), now.minus(other_now)
    return after.value >= before.value + GAP_GROWTH and _is_real(before, after)


def white_space(start: Blocks, recent: Blocks) -> str | None:
    """White space vanishes from the samples, or floods them."""
    was, now = _both(start, recent, _WHITE_SPACE)
    if was is None or now is None or not _is_real(was, now):
        return None
    lost = was.value >= MIN_WHITE_SPACE and now.value <= MAX_REMAINDER * was.value
    factor, added = WHITE_SPACE_GROWTH
    floods = now.value >= max(factor * was.value, added + was.value)
    if not lost and not floods:
        return None
    what = "white space is being suppressed" if lost else "the responses are filling with white space"
    return _message(what, [_change("share/white_space", was, now, "{:.1%}")], "white_space")


def length(start: Blocks, recent: Blocks) -> str | None:
    """Responses grow far longer than at the start, or no longer end."""
    was, now = _both(start, recent, _LENGTH)
    stopped_was, stopped_now = _both(start, recent, _STOPPED)
    if was is None or now is None or stopped_was is None or stopped_now is None or now.value <= was.value:
        return None
    longer = now.value >= LENGTH_GROWTH * was.value and _is_real(was, now)
    endless = stopped_was.value >= MIN_STOPPED and stopped_now.value <= MAX_REMAINDER * stopped_was.value
    if not longer and not (endless and _is_real(stopped_was, stopped_now)):
        return None
    found = [_change("response_tokens", was, now, "{:.0f}"), _change("stopped", stopped_was, stopped_now, "{:.1%}")]
    return _message("the length of the responses explodes", found, "length")


def entropy(start: Blocks, recent: Blocks) -> str | None:
    """The student grows so certain that its samples are almost all the same."""
    was, now = _both(start, recent, _ENTROPY)
    if was is None or now is None or was.value < MIN_ENTROPY:
        return None
    if now.value > min(MIN_ENTROPY, MAX_ENTROPY_REMAINDER * was.value) or not _is_real(was, now):
        return None
    found = [_change("sampled_entropy", was, now, "{:.3f} nats per token")]
    return _message("the student's entropy collapses", found, "entropy")


def _change(name: str, was: RatioEstimate | None, now: RatioEstimate | None, form: str) -> str:
    before, after = ("unknown" if metric is None else form.format(metric.value) for metric in (was, now))
    return f"{name} is {after} now and was {before} at the start"


def _message(what: str, found: Sequence[str], kind: str) -> str:
    advice = f"What to try, in a new run or from an earlier checkpoint: {_WHAT_TO_TRY[kind]}"
    return f"{what}: {'; '.join(found)}. {advice}"


DETECTORS: dict[str, Callable[[Blocks, Blocks], str | None]] = {
    "numerals": numerals,
    "white_space": white_space,
    "length": length,
    "entropy": entropy,
}
"""By kind: from the first and the latest blocks of a run to a message, None if nothing is wrong."""
