"""What travels with a response through verl: figures for the log, or why there are none."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from crossdistill.align import Coverage, DropReason
from crossdistill.distill import ScoredBatch
from crossdistill.errors import InputError, TeacherError
from crossdistill.integrations.verl import NAME, TOOLS
from crossdistill.train.monitor.histories import HistoryCounts
from crossdistill.train.monitor.rollout_sums import RolloutSums

FIELD = "crossdistill"
"""Name of the record among the extra fields of verl's responses."""


class ResponseError(RuntimeError):
    """A response could not be had, and neither the input nor a teacher is at fault; a traceback is in verl's log."""


_ERRORS: dict[str, type[Exception]] = {"input": InputError, "teacher": TeacherError, "fault": ResponseError}
"""By their kind, which is what travels."""


@dataclass(frozen=True)
class Record:
    """Plain values, which any transport can carry.

    Attributes:
        sums: a :class:`RolloutSums` of the response, in the order of its fields.
        dropped: tokens and bytes without a signal, by reason.
        error: the sentence of what went wrong; None if nothing did.
        kind: of the error: "input", "teacher" or "fault".

    Example:
        >>> Record.of_error(InputError("the student is missing: name it.")).as_dict()["kind"]
        'input'
    """

    sums: tuple[float, ...] = ()
    dropped: Mapping[str, tuple[int, int]] | None = None
    error: str | None = None
    kind: str | None = None

    @classmethod
    def of(cls, batch: ScoredBatch) -> Self:
        """The record of one scored response: a batch of one row."""
        coverage = batch.coverage
        sums = RolloutSums.of(batch.rollout, batch.responses, coverage, HistoryCounts())
        dropped = {str(reason): (count.tokens, count.bytes) for reason, count in coverage.dropped.items()}
        return cls(sums.values(), dropped)

    @classmethod
    def of_error(cls, error: InputError | TeacherError | ResponseError) -> Self:
        """The record of a response that could not be sampled or scored."""
        return cls(error=str(error), kind=next(kind for kind, made in _ERRORS.items() if isinstance(error, made)))

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"sums": list(self.sums), "dropped": self.dropped, "error": self.error, "kind": self.kind}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """The record in :meth:`as_dict`'s values."""
        return cls(tuple(values["sums"]), values["dropped"], values["error"], values["kind"])

    @classmethod
    def of_response(cls, extra_fields: Mapping[str, Any]) -> Self:
        """The record among the extra fields of a response.

        Raises:
            InputError: there is none.
        """
        if FIELD not in extra_fields:
            raise InputError(
                "an agent loop that does not ask the teacher sampled a response: let the data's column agent_name and "
                "actor_rollout_ref.rollout.agent.agent_loop_config_path lead to "
                f"{NAME}, {TOOLS} or a loop of your own on top of crossdistill.integrations.verl.plugin.Distilling."
            )
        return cls.read(extra_fields[FIELD])

    @property
    def is_supervised(self) -> bool:
        """Whether a token of the response has a signal."""
        return bool(self.sums) and RolloutSums(*self.sums).supervised_tokens > 0

    def coverage(self) -> Coverage:
        """What became of every sampled token."""
        sums, coverage = RolloutSums(*self.sums), Coverage()
        coverage.supervise(int(sums.supervised_tokens), int(sums.supervised_bytes))
        for reason, (tokens, num_bytes) in (self.dropped or {}).items():
            coverage.drop(DropReason(reason), tokens, num_bytes)
        return coverage


def raise_first(records: Iterable[Record]) -> None:
    """Raise what went wrong with the first response that has an error; the teacher's failures come first.

    Raises:
        TeacherError: a teacher failed.
        InputError: bad input.
        ResponseError: scoring failed by a fault of the plug-in.
    """
    failed = [record for record in records if record.error is not None]
    for record in sorted(failed, key=lambda one: one.kind != "teacher"):
        raise _ERRORS[record.kind or "input"](record.error)
