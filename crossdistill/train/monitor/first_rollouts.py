"""What the first rollouts of a run tell of its settings, said while little was spent."""

from pathlib import Path

from crossdistill.findings import Finding, FindingLog, Kind, Severity, When
from crossdistill.train.monitor.base import Monitor, Observation
from crossdistill.train.monitor.rollout_sums import RolloutSums

RESPONSES_CUT_OFF = Kind(
    "completions_cut",
    Severity.WARNING,
    When.DURING,
    "{cut:.0f} of the first {responses:.0f} responses were cut at max_completion_length = {limit}, so that hardly any "
    "end is taught: raise it to what an answer needs, or set stop_unit = false if ends are not to be taught.",
    "the student is trained on beginnings of answers, and learns when to stop from next to nothing",
)
ENDS_UNLIKELY = Kind(
    "teacher_does_not_end_turns",
    Severity.WARNING,
    When.DURING,
    "at the ends of {ends:.0f} responses that the student ended, the teacher gives the end of the turn a probability "
    "of {probability:.2%} on average: it does not end its turns, as base models do not, or reads other conversations "
    "than it was trained on; set stop_unit = false, or take a teacher that does.",
    "the student is taught not to end its answers",
)
NO_HEADROOM = Kind(
    "no_headroom",
    Severity.WARNING,
    When.DURING,
    "the first {responses:.0f} responses are as likely to the teacher as to the student (teacher gap {gap:.4f} nats "
    "per byte, standard error {error:.4f}), so that it has hardly anything to teach on these prompts: take harder "
    "prompts or a stronger teacher, or see that the two are not the same model.",
    "the run costs what it costs, and the student stays what it was",
)

ENOUGH = 32
"""Responses after which it is judged."""
ENOUGH_ENDS = 16
"""Ends of responses from which it is judged what the teacher thinks of them."""
MOST_CUT = 0.95
LEAST_PROBABLE = 0.01
"""Mean probability of an end below which a teacher does not end its turns; one that does gives tens of per cent."""
SMALL_GAP = 0.005
"""Nats per byte; trained students of the demo and of real pairs are at 0.02 and more from their teachers."""


class FirstRollouts(Monitor):
    """Judges the first ENOUGH responses, those of all processes, and then looks away.

    Args:
        log: receives what is found.
        limit: most tokens of a response.
        stops: whether the ends of turns are taught.
    """

    def __init__(self, log: FindingLog, limit: int, stops: bool):
        self._log = log
        self._limit, self._stops = limit, stops
        self._sums: RolloutSums | None = RolloutSums()

    def see(self, seen: Observation) -> None:
        if self._sums is None or seen.mode != "train" or not seen.rollout.is_sampled:
            return
        self._sums.add(seen.sums.values())
        if self._sums.responses >= ENOUGH:
            self._log.add_all(first_findings(self._sums, self._limit, self._stops))
            self._sums = None

    def load(self, checkpoint: Path) -> None:
        """A resumed run is not at its beginning."""
        self._sums = None


def first_findings(sums: RolloutSums, limit: int, stops: bool) -> list[Finding]:
    """What the first responses tell.

    Args:
        sums: of them.
        limit: most tokens of a response.
        stops: whether the ends of turns are taught.

    Example:
        >>> [cut] = first_findings(RolloutSums(responses=32, stopped=1), limit=48, stops=True)
        >>> cut.message[:71]
        '31 of the first 32 responses were cut at max_completion_length = 48, so'
    """
    found, cut = [], sums.responses - sums.stopped
    if stops and cut > MOST_CUT * sums.responses:
        found.append(RESPONSES_CUT_OFF(cut=cut, responses=sums.responses, limit=limit))
    if sums.scored_ends >= ENOUGH_ENDS and sums.end_probability < LEAST_PROBABLE * sums.scored_ends:
        found.append(ENDS_UNLIKELY(ends=sums.scored_ends, probability=sums.end_probability / sums.scored_ends))
    metrics = sums.metrics()
    gap, error = metrics.get("teacher_gap"), metrics.get("teacher_gap_se")
    if gap is not None and error is not None and abs(gap) + 2 * error < SMALL_GAP:
        found.append(NO_HEADROOM(responses=sums.responses, gap=gap, error=error))
    return found
