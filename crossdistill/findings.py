"""What is found about a run that would harm it: one catalogue for `inspect`, `train` and the documentation.

A :class:`Kind` is declared next to the check that finds it, with the sentence that a user reads. A refusal is raised; a
warning or a notice goes to a :class:`FindingLog`, which says it once and keeps it for ``run.json``. The table of
``docs/refusals.md`` is made from all kinds.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from crossdistill.errors import InputError

KINDS: dict[str, "Kind"] = {}
"""All kinds by name, in the order in which their modules were imported."""

_LOGGER = logging.getLogger("crossdistill")


class Severity(StrEnum):
    """What comes of a finding."""

    REFUSAL = "refusal"  # the run does not start, or stops
    WARNING = "warning"  # the run goes on; the terminal, the log and run.json say so
    NOTICE = "notice"  # a habit that is worth knowing; run.json and the log, at level info, say so


class When(StrEnum):
    """When a run finds it at the latest."""

    BEFORE_WEIGHTS = "before weights are read"
    LOADING = "when weights are loaded"
    FIRST_STEP = "at the first step, and after a resume"
    DURING = "during the run"


@dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Attributes:
        name: in snake case; unique.
        severity: what comes of it.
        when: a run finds it at the latest.
        sentence: what a user reads, with {placeholders}: the thing, the reason and the way out.
        harm: what would come of it if the run went on; a clause for the documentation.

    Raises:
        ValueError: another kind has this name.

    Example:
        >>> kind = Kind("too_hot", Severity.WARNING, When.DURING, "{thing} is hot: let it cool.", "it burns")
        >>> kind(thing="the tea").message
        'the tea is hot: let it cool.'
        >>> _ = KINDS.pop("too_hot")
    """

    name: str
    severity: Severity
    when: When
    sentence: str
    harm: str

    def __post_init__(self) -> None:
        if self.name in KINDS:
            raise ValueError(f"there are two kinds of findings called {self.name!r}")
        KINDS[self.name] = self

    def __call__(self, **values: Any) -> "Finding":
        """The finding; `values` fill the placeholders."""
        return Finding(self, self.sentence.format(**values))

    def error(self, **values: Any) -> "FindingError":
        """The finding as an error to raise."""
        return FindingError(self(**values))


@dataclass(frozen=True)
class Finding:
    """Something that was found.

    Attributes:
        kind: its kind.
        message: the sentence, filled in.

    Example:
        >>> from crossdistill.chat.findings import SYSTEM_FOLDED
        >>> SYSTEM_FOLDED(side="teacher").as_dict()["kind"]
        'system_folded'
    """

    kind: Kind
    message: str

    def as_dict(self) -> dict[str, str]:
        """Its entry in ``run.json``."""
        return {"kind": self.kind.name, "severity": self.kind.severity.value, "message": self.message}


class FindingError(InputError):
    """A finding that ends a run.

    Attributes:
        finding: what was found.

    Example:
        >>> from crossdistill.chat.findings import SYSTEM_FOLDED
        >>> FindingError(SYSTEM_FOLDED(side="teacher")).finding.message[:50]
        "the teacher's chat template takes no system messag"
    """

    def __init__(self, finding: Finding):
        super().__init__(finding.message)
        self.finding = finding

    def __reduce__(self) -> tuple[type[Self], tuple[Finding]]:
        return type(self), (self.finding,)


@dataclass
class FindingLog:
    """Says each warning and notice once and keeps it; raises a refusal.

    Attributes:
        emit: receives the messages of warnings; the logger ``crossdistill`` by default.
        is_emitter: whether this one of several processes says them.
        findings: the warnings and notices so far, in order.

    Example:
        >>> kind = Kind("too_cold", Severity.WARNING, When.DURING, "{thing} is cold: warm it up.", "it freezes")
        >>> log = FindingLog(emit=print)
        >>> log.add(kind(thing="the tea"))
        the tea is cold: warm it up.
        >>> log.add(kind(thing="the tea"))
        >>> len(log.findings)
        1
        >>> _ = KINDS.pop("too_cold")
    """

    emit: Callable[[str], None] = _LOGGER.warning
    is_emitter: bool = True
    findings: list[Finding] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        """Take up a finding.

        Raises:
            FindingError: it is a refusal.
        """
        if finding.kind.severity is Severity.REFUSAL:
            raise FindingError(finding)
        if finding in self.findings:
            return
        self.findings.append(finding)
        if self.is_emitter:
            (self.emit if finding.kind.severity is Severity.WARNING else _LOGGER.info)(finding.message)

    def add_all(self, findings: Iterable[Finding]) -> None:
        """Take up several, in order.

        Raises:
            FindingError: one is a refusal.
        """
        for finding in findings:
            self.add(finding)

    def as_list(self) -> list[dict[str, str]]:
        """The ``findings`` of ``run.json``."""
        return [finding.as_dict() for finding in self.findings]
