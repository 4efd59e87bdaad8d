"""The ways in which a run goes wrong, each with the bounds that tell it from a healthy change, and what to try.

A healthy run changes too: a base student under an instruct teacher grows surer and longer. The bounds are wide of that,
and no change within 4 standard errors counts.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crossdistill.train.monitor.metrics import RolloutSums

Sum = Callable[[RolloutSums], float]

MIN_BLOCKS = 6
"""A figure is known where so many blocks say something of it: fewer tell nothing of its noise."""


@dataclass(frozen=True)
class RatioEstimate:
    """A figure over a stretch. influences: what each block adds to its error; their squares sum to its variance."""

    value: float
    influences: tuple[float, ...]

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(sum(influence * influence for influence in self.influences))

    def minus(self, other: "RatioEstimate") -> "RatioEstimate":
        """The difference of two figures of the same blocks."""
        pairs = zip(self.influences, other.influences, strict=True)
        return RatioEstimate(self.value - other.value, tuple(mine - theirs for mine, theirs in pairs))

    def differs(self, other: "RatioEstimate", sigmas: float) -> bool:
        """Whether the same figure over another stretch differs by more than so many standard errors."""
        return abs(self.value - other.value) > sigmas * math.hypot(self.error, other.error)


def ratio(blocks: Sequence[RolloutSums], top: Sum, bottom: Sum) -> RatioEstimate | None:
    """The ratio of two sums over a stretch; None where fewer than MIN_BLOCKS have a `bottom`."""
    parts = [(top(block), bottom(block)) for block in blocks]
    num_known = sum(size > 0 for _, size in parts)
    if num_known < MIN_BLOCKS:
        return None
    total = sum(size for _, size in parts)
    value = sum(part for part, _ in parts) / total
    scale = math.sqrt(num_known / (num_known - 1)) / total
    return RatioEstimate(value, tuple(scale * (part - value * size) for part, size in parts))


Blocks = Sequence[RolloutSums]

SIGMAS = 4.0
"""Standard errors that a change must exceed."""
FALL = 1 / 4
"""A share that falls to this part of its start, or below, is lost."""
MIN_DIGITS = 0.005
"""Share of bytes below which digits are too rare at the start for their loss to be told."""
MIN_WHITE_SPACE = 0.02
"""Likewise of white space."""
WIDER_GAP = 0.5
"""Nats per byte by which the gap on digits must grow, by itself and beside that on all else, to end up as wide."""
RISE = (2.0, 0.2)
"""White space that is so many times its share at the start, and so much of all bytes more, has taken over."""
MIN_STOPPED = 0.2
"""A stop rate below is too low at the start for its loss to be told."""
LONGER = 3.0
"""Responses so many times as long as at the start have exploded, whether or not they still stop."""
MIN_ENTROPY = 0.1
"""Nats per token. A student surer than this at the start cannot collapse, and one less sure than this has not."""
ENTROPY_FALL = 1 / 5
"""Part of the entropy at the start that is left after a collapse, or less."""

_NEW_RUN = "What to try, in a new run or from an earlier checkpoint:"
_TRY = {
    "numerals": "a lower learning_rate; another credit (objective_options) or an objective that compares distributions "
    "instead of samples. `crossdistill align --run` shows numbers: does the teacher split them otherwise, or does it "
    "find the student's wrong?",
    "white_space": "a lower learning_rate; templates that begin a response alike on both sides. `crossdistill align "
    "--run` shows white space, `crossdistill inspect` whether the teacher's tokenizer rewrites it.",
    "length": "stop_unit = true with an instruct teacher, stop_unit = false with one that does not end its turns; a "
    "lower learning_rate or max_completion_length. A teacher that writes at such length itself explains it.",
    "entropy": "a lower learning_rate; fewer num_iterations; more and more varied prompts; a divergence that is not "
    "mode-seeking (forward, jsd) where the objective has one. log_completions shows repetition.",
}


def numerals(start: Blocks, recent: Blocks) -> str | None:
    """Digits vanish from the samples, or the teacher comes to dislike them while it does not the rest."""
    was, now = _both(start, recent, _DIGITS)
    lost = was and now and was.value >= MIN_DIGITS and now.value <= FALL * was.value and _is_real(was, now)
    if not lost and not _is_wider(start, recent):
        return None
    gaps = (_both(start, recent, figure) for figure in (_DIGIT_GAP, _OTHER_GAP))
    names = ("teacher_gap/digits", "the gap on all else")
    found = [_change(name, *gap, "{:.2f} nats per byte") for name, gap in zip(names, gaps, strict=True)]
    return _message("numerals are being suppressed", [_change("share/digits", was, now, "{:.2%}"), *found], "numerals")


def _is_wider(start: Blocks, recent: Blocks) -> bool:
    """Whether the gap on digits grew, and more than that on all else; to learn the rest first is no symptom."""
    was, now = _both(start, recent, _DIGIT_GAP)
    other_was, other_now = _both(start, recent, _OTHER_GAP)
    if was is None or now is None or other_was is None or other_now is None:
        return False
    if now.value < WIDER_GAP or now.value < was.value + WIDER_GAP or not _is_real(was, now):
        return False
    before, after = was.minus(other_was), now.minus(other_now)
    return after.value >= before.value + WIDER_GAP and _is_real(before, after)


def white_space(start: Blocks, recent: Blocks) -> str | None:
    """White space vanishes from the samples, or fills them."""
    was, now = _both(start, recent, _WHITE_SPACE)
    if was is None or now is None or not _is_real(was, now):
        return None
    lost = was.value >= MIN_WHITE_SPACE and now.value <= FALL * was.value
    fills = now.value >= max(RISE[0] * was.value, RISE[1] + was.value)
    if not lost and not fills:
        return None
    what = "white space is being suppressed" if lost else "the responses are filling with white space"
    return _message(what, [_change("share/white_space", was, now, "{:.1%}")], "white_space")


def length(start: Blocks, recent: Blocks) -> str | None:
    """Responses grow far beyond what they were, or do not end any more."""
    was, now = _both(start, recent, _LENGTH)
    stopped_was, stopped_now = _both(start, recent, _STOPPED)
    if was is None or now is None or stopped_was is None or stopped_now is None or now.value <= was.value:
        return None
    longer = now.value >= LONGER * was.value and _is_real(was, now)
    endless = stopped_was.value >= MIN_STOPPED and stopped_now.value <= FALL * stopped_was.value
    if not longer and not (endless and _is_real(stopped_was, stopped_now)):
        return None
    found = [_change("response_tokens", was, now, "{:.0f}"), _change("stopped", stopped_was, stopped_now, "{:.1%}")]
    return _message("the responses' length explodes", found, "length")


def entropy(start: Blocks, recent: Blocks) -> str | None:
    """The student grows so sure that it samples almost one response alone."""
    was, now = _both(start, recent, _ENTROPY)
    if was is None or now is None or was.value < MIN_ENTROPY:
        return None
    if now.value > min(MIN_ENTROPY, ENTROPY_FALL * was.value) or not _is_real(was, now):
        return None
    found = [_change("sampled_entropy", was, now, "{:.3f} nats per token")]
    return _message("the student's entropy collapses", found, "entropy")


DETECTORS: dict[str, Callable[[Blocks, Blocks], str | None]] = {
    "numerals": numerals,
    "white_space": white_space,
    "length": length,
    "entropy": entropy,
}
"""By kind: what looks at the first blocks of a run and the latest ones, and tells of its symptom."""

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


def _both(start: Blocks, recent: Blocks, figure: _Ratio) -> tuple[RatioEstimate | None, RatioEstimate | None]:
    return ratio(start, *figure), ratio(recent, *figure)


def _is_real(was: RatioEstimate, now: RatioEstimate) -> bool:
    return was.differs(now, SIGMAS)


def _change(name: str, was: RatioEstimate | None, now: RatioEstimate | None, form: str) -> str:
    before, after = ("unknown" if figure is None else form.format(figure.value) for figure in (was, now))
    return f"{name} is {after} of late and was {before} at the start"


def _message(what: str, found: Sequence[str], kind: str) -> str:
    return f"{what}: {'; '.join(found)}. {_NEW_RUN} {_TRY[kind]}"
