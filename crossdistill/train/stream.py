"""Streamed data: rows with their numbers, read once and forwards."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

from crossdistill.errors import InputError
from crossdistill.findings import FindingError, Kind, Severity, When

BAD_ROW = Kind(
    "row_of_a_stream",
    Severity.REFUSAL,
    When.DURING,
    "row {number} of {what} cannot be used: {reason} {saved}: mend the row, then {way_out}.",
    "the run would crash in the middle and lose what it trained",
)
TOO_SHORT = Kind(
    "stream_too_short",
    Severity.REFUSAL,
    When.DURING,
    "{what} ended after {seen} rows, and max_steps = {steps} takes {needed}, {a_step} a step: what was trained is in a "
    "checkpoint; give more rows (streams of datasets have `repeat`), or lower max_steps.",
    "the run would end early, or read the rows again, in silence",
)

NUMBER, ROW = "number", "row"
_STREAM = "_crossdistill_stream"


class StreamError(FindingError):
    """A stream cannot go on. What was trained before is saved."""


@dataclass(frozen=True)
class Unreadable:
    """Stands for a row that the stream itself failed to make.

    Attributes:
        reason: its error.
    """

    reason: str


class Stream:
    """A streamed data set whose rows bear their numbers, in the order in which the source gives them.

    Args:
        source: the rows; it can be iterated anew.
        what: what messages call it, such as "the training data".
        can_peek: whether its first row may be read before it is needed.

    Attributes:
        what: as given.
        num_rows: of the whole stream; None until it was read to its end.
        column_names: of its rows; None if they are not known.
        dataset: what a trainer reads: each row as ``{"number": ..., "row": ...}``.

    Example:
        >>> stream = Stream([{"prompt": "a"}, {"prompt": "b"}], "the training data")
        >>> stream.ahead()
        [{'prompt': 'a'}]
        >>> [row["number"] for row in stream.dataset]
        [0, 1]
    """

    def __init__(self, source: Iterable[Any], what: str, can_peek: bool = True):
        from datasets import IterableDataset

        self._source = source
        self._begun: Iterator[Any] | None = None
        self._ahead: list[Any] = []
        self._can_peek = can_peek
        self.what = what
        self.num_rows: int | None = None
        self.dataset: Any = IterableDataset.from_generator(_Rows(self))
        setattr(self.dataset, _STREAM, self)

    @classmethod
    def behind(cls, dataset: Any) -> "Stream | None":
        """The stream of a data set that a trainer reads; None if it is another data set."""
        return getattr(dataset, _STREAM, None)

    @property
    def column_names(self) -> list[str] | None:
        named: list[str] | None = getattr(self._source, "column_names", None)
        ahead = self.ahead() if named is None else []
        return list(ahead[0]) if ahead and isinstance(ahead[0], Mapping) else named

    def ahead(self) -> list[Any]:
        """The first row, read before it is needed: the first iteration begins with it. None if it may not be read so.

        Raises:
            InputError: the stream is empty, or fails.
        """
        if self._can_peek and not self._ahead:
            rows = self._read()
            first = next(rows, None)
            if first is None:
                raise InputError(f"{self.what} is empty: give at least one row with a prompt.")
            if isinstance(first[ROW], Unreadable):
                raise InputError(f"{self.what} cannot be read ({first[ROW].reason}): repair what makes its rows.")
            self._ahead, self._begun = [first[ROW]], chain([first], rows)
        return self._ahead

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows with their numbers, from the first one."""
        begun, self._begun = self._begun, None
        yield from begun or self._read()

    def _read(self) -> Iterator[dict[str, Any]]:
        source, number = iter(self._source), 0
        while True:
            try:
                row = next(source)
            except StopIteration:
                self.num_rows = number
                return
            except Exception as error:  # noqa: BLE001 - the user's code may raise anything
                failed = Unreadable(f"{type(error).__name__}: {error}")
                yield from repeat({NUMBER: number, ROW: failed})  # TRL drops a batch that is not full
            yield {NUMBER: number, ROW: row}
            number += 1


class _Rows:
    """What makes the rows of a stream. `datasets` makes a hash of it, and of the source none can be made."""

    def __init__(self, stream: Stream | None):
        self._stream = stream

    def __call__(self) -> Iterator[dict[str, Any]]:
        assert self._stream is not None
        return self._stream.rows()

    def __reduce__(self) -> tuple[type["_Rows"], tuple[None]]:
        return _Rows, (None,)
