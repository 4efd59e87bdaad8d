"""What inspection comes to: whether the pair can be used, with which objective, and what to mind."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crossdistill.findings import Severity
from crossdistill.inspection.choice import choices
from crossdistill.inspection.pair import Inspection
from crossdistill.inspection.vocab_findings import ENOUGH_COVERAGE
from crossdistill.report.format import percent

USABLE, IN_PART, UNUSABLE = "usable", "usable in part", "not usable"
_HALF = 0.5
"""Share of the tokens that a run must have supervised to go on; a smaller one of 1:1 tokens is worth a word."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a pair.

    Attributes:
        usability: USABLE, IN_PART or UNUSABLE.
        objectives: that suit the pair best: with a teacher in this process, and with one behind a server.
        mind: what to know before a run, in clauses; may be empty.
        reason: of the usability, in words.
    """

    usability: str
    reason: str
    objectives: tuple[str, str]
    mind: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """The verdict in two sentences."""
        dense, less = self.objectives
        others = "" if dense == less else f" ({less} with a teacher behind a server)"
        best = "" if self.usability == UNUSABLE else f" Best objective: {dense}{others}."
        return [f"{self.usability}: {self.reason}.{best}", f"mind: {'; '.join(self.mind) or 'nothing'}."]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "objectives": list(self.objectives), "mind": list(self.mind)}


def verdict(pair: Inspection) -> Verdict:
    """The verdict on an inspected pair. What a run would refuse, inspection has refused before."""
    coverage = pair.expected_coverage
    usability = USABLE if coverage >= ENOUGH_COVERAGE else IN_PART if coverage >= _HALF else UNUSABLE
    return Verdict(usability, _reason(pair), choices(pair.total, pair.overlap), tuple(_mind(pair)))


def _reason(pair: Inspection) -> str:
    supervised = f"the teacher can supervise {percent(pair.expected_coverage)} of the bytes"
    if pair.expected_coverage >= ENOUGH_COVERAGE:
        return f"{supervised}, and {percent(pair.total.one_to_one_share)} of the student's tokens are 1:1"
    name, measure = min(pair.categories.items(), key=lambda item: item[1].coverage)
    return f"{supervised}, least of {name} ({percent(measure.coverage)})"


def _mind(pair: Inspection) -> Iterator[str]:
    for severity in (Severity.WARNING, Severity.NOTICE):
        names = [finding.kind.name.replace("_", " ") for finding in pair.findings if finding.kind.severity is severity]
        if names:
            of_what = ", ".join(dict.fromkeys(names)) if severity is Severity.WARNING else ""
            yield f"{len(names)} {severity.value}{'' if len(names) == 1 else 's'}" + (of_what and f" ({of_what})")
    for side, facts in (("student", pair.student), ("teacher", pair.teacher)):
        if not facts.stops:
            yield f"the {side} has no stop token"
    name, measure = min(pair.categories.items(), key=lambda item: item[1].one_to_one_share, default=("", pair.total))
    if measure.one_to_one_share < _HALF:
        yield f"{percent(measure.one_to_one_share)} of the student's tokens are 1:1 in {name or 'all'}"
