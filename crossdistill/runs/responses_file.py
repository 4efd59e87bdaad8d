"""``responses.jsonl``: what a teacher wrote, one JSON object a line, each bound to its prompt by a hash."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from crossdistill.chat.messages import Prompt
from crossdistill.findings import FindingError, Kind, Severity, When
from crossdistill.teachers.base import WrittenResponse

RESPONSE_OF_ANOTHER_PROMPT = Kind(
    "response_of_another_prompt",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "row {row} of {path} {problem}, so the run cannot be resumed with it: restore the data set and the file as they "
    "were, or start a new run in another folder.",
    "the student is trained on responses that belong to other prompts",
)

Row = dict[str, Any]
"""``prompt``, ``completion``, ``stopped`` and ``hash``."""


@dataclass(frozen=True)
class ResponsesFile:
    """A file of responses, written as they come and taken up again after an interruption.

    Attributes:
        path: of the file; it need not exist.
        prompts: of the data set, in order. Row k of the file belongs to the k-th.
        settings: JSON values under which the responses are written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = ResponsesFile(Path(folder) / "responses.jsonl", ["1 + 1 =", "2 + 2 ="], {"temperature": 0.0})
        ...     rows = list(file.append([WrittenResponse(" 2", 2, stopped=True)], first_row=0))
        ...     [row["completion"] for row in file.read()]
        [' 2']
    """

    path: Path
    prompts: Sequence[Prompt]
    settings: Mapping[str, Any]

    def read(self) -> list[Row]:
        """The rows so far; an incomplete last line (after a kill) is cut off the file.

        Raises:
            FindingError: a row does not belong to the prompt at its place, or was written under other settings.
        """
        rows = [self._row(number, line) for number, line in enumerate(complete_lines(self.path))]
        if len(rows) > len(self.prompts):
            raise self._refused(len(self.prompts), f"has no prompt: the data set has only {len(self.prompts)}")
        for number, (row, prompt) in enumerate(zip(rows, self.prompts, strict=False)):  # the rest is not written yet
            self._check(number, row, prompt)
        return rows

    def append(self, responses: Iterable[WrittenResponse], first_row: int) -> Iterator[Row]:
        """Write responses, each as soon as it is there.

        Args:
            responses: to the prompts from `first_row` on, in order.
            first_row: number of the first one.
        """
        with self.path.open("a", encoding="utf-8") as file:
            for number, response in enumerate(responses, first_row):
                row = {"prompt": self.prompts[number], "completion": response.text, "stopped": response.stopped}
                row["hash"] = self._hash(number, row)
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                yield row

    def _row(self, number: int, line: bytes) -> Row:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise self._refused(number, "is not JSON") from None
        if not isinstance(row, dict) or not {"prompt", "completion", "stopped"} <= row.keys():
            raise self._refused(number, "is not a response of a run")
        return row

    def _check(self, number: int, row: Row, prompt: Prompt) -> None:
        if "hash" not in row:
            raise self._refused(number, "has no hash that binds it to its prompt (an earlier version wrote it)")
        if _canonical(row["prompt"]) != _canonical(prompt):
            raise self._refused(number, f"answers another prompt than row {number} of the data set")
        if row["hash"] != self._hash(number, row):
            raise self._refused(number, "was changed, moved, or written under other settings")

    def _hash(self, number: int, row: Row) -> str:
        content = [number, row["prompt"], row["completion"], row["stopped"], dict(self.settings)]
        return sha256(_canonical(content).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def _refused(self, number: int, problem: str) -> FindingError:
        return RESPONSE_OF_ANOTHER_PROMPT.error(row=number, path=self.path, problem=problem)


def complete_lines(path: Path, is_owner: bool = True) -> list[bytes]:
    """The lines of a file, of which none is half-written; an incomplete last one (after a kill) is cut off the file.

    Args:
        path: of the file; it need not exist.
        is_owner: whether nobody else writes to it; if somebody may, the last line is left as it is.
    """
    if not path.exists():
        return []
    data = path.read_bytes()
    complete = data[: data.rfind(b"\n") + 1]
    if is_owner and len(complete) < len(data):
        os.truncate(path, len(complete))  # not written anew, which a full disk would end in the middle
    return complete.split(b"\n")[:-1]  # str.splitlines would also cut at U+2028 and the like


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
