"""The reward of a run: from rollouts to grades, and what a run says of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from traceback import extract_tb
from types import TracebackType
from typing import Any, Self

from crossdistill.chat import split_response
from crossdistill.chat.messages import Message
from crossdistill.distill.rollout import Rollout, Turn
from crossdistill.errors import EvaluationError, InputError
from crossdistill.tokens import ByteVocab
from crossdistill.train.reward.base import Answer, Grade, Reward


class RunReward:
    """Grades the rollouts of a run; use it in a ``with`` statement.

    Args:
        reward: grades.
        vocab: the student's.
        stop_ids: that end its turns.

    Attributes:
        latest: the grades of the latest rollout, by row.
    """

    def __init__(self, reward: Reward, vocab: ByteVocab, stop_ids: Sequence[int]):
        self.latest: list[Grade] = []
        self._reward = reward
        self._vocab = vocab
        self._stop_ids = tuple(stop_ids)

    def of(self, rows: Sequence[Mapping[str, Any]], rollout: Rollout) -> list[float | None]:
        """The reward of each row of a rollout.

        Args:
            rows: of the data, as they were sampled for.
            rollout: the responses to them.

        Raises:
            EvaluationError: the reward failed; a failure is no reward of 0.
        """
        answers = answers_of(rows, rollout, self._vocab, self._stop_ids)
        try:
            self.latest = self._reward.grade(answers)
        except InputError as error:
            raise EvaluationError(f"the reward {self._reward.name!r} failed: {error}") from error
        except Exception as error:
            place = extract_tb(error.__traceback__)[-1]
            raise EvaluationError(
                f"the reward {self._reward.name!r} failed ({type(error).__name__} in {Path(place.filename).name}, line "
                f"{place.lineno}: {error}): repair it; what was trained so far is sound."
            ) from error
        return [grade.value for grade in self.latest]

    def __enter__(self) -> Self:
        self._reward.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reward.__exit__(kind, error, trace)


def answers_of(
    rows: Sequence[Mapping[str, Any]], rollout: Rollout, vocab: ByteVocab, stop_ids: Sequence[int]
) -> list[Answer]:
    """The responses of a rollout as a reward sees them.

    Args:
        rows: of the data, one for each row of the rollout.
        rollout: sampled.
        vocab: the student's.
        stop_ids: that end its turns.
    """

    def text(turn: Turn) -> str:
        return split_response(turn.ids, vocab, stop_ids).data.decode("utf-8", errors="replace")

    by_row = rollout.by_row(rollout.turns)
    return [
        Answer(row, ids, text(turns[-1]), _conversation(row["prompt"], turns[-1], text(turns[-1])))
        for row, ids, turns in zip(rows, rollout.completion_ids, by_row, strict=True)
    ]


def _conversation(prompt: Any, last: Turn, text: str) -> list[Message]:
    if isinstance(prompt, str):
        return []
    return [*last.prompt[len(prompt) :], {"role": "assistant", "content": text}]
