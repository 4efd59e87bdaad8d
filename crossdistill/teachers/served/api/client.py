"""One question to a server, in its dialect."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from crossdistill.errors import TeacherChangedError
from crossdistill.teachers.served.api.dialect import Dialect, PromptLogprobs, field
from crossdistill.teachers.served.http.connection import Connection
from crossdistill.teachers.served.http.errors import Malformed, quoted

_MODELS_PATH = "/v1/models"


class ScoringClient:
    """Asks once; who asks again is another matter.

    Args:
        model: name of the model there.
        answers_as: the name under which it answers, where that is known: another one raises TeacherChangedError.
    """

    def __init__(self, connection: Connection, dialect: Dialect, model: str, answers_as: str | None = None):
        self.dialect = dialect
        self._connection = connection
        self._model = model
        self._answers_as = answers_as

    async def score(self, ids: Sequence[int], top_k: int) -> PromptLogprobs:
        scores: PromptLogprobs = await self._read(
            self.dialect.body(ids, top_k), lambda answer: self.dialect.read(answer, ids, top_k)
        )
        return scores

    async def next(self, ids: Sequence[int], wanted: Sequence[int]) -> np.ndarray | None:
        """Nats of the wanted ids after these, float32; None where the dialect cannot say."""
        body = self.dialect.next_body(ids, wanted)
        if body is None:
            return None
        logprobs: np.ndarray = await self._read(body, lambda answer: self.dialect.read_next(answer, wanted))
        return logprobs

    async def answer(self, body: dict[str, Any]) -> Any:
        """The raw answer."""
        return await self._read(body, lambda answer: answer)

    async def _read(self, body: dict[str, Any], read: Callable[[Any], Any]) -> Any:
        def of_this_model(answer: Any) -> Any:
            name = name_in(answer)
            if None not in (name, self._answers_as) and name != self._answers_as:
                raise changed(self._connection.url, f"{quoted(name)} answers in place of {quoted(self._answers_as)}")
            return read(answer)

        return await self._connection.exchange(self.dialect.path, {"model": self._model, **body}, of_this_model)


def name_in(answer: Any) -> str | None:
    """The model that says it has answered."""
    name = answer.get("model") if isinstance(answer, dict) else None
    return name if isinstance(name, str) else None


async def served_models(connection: Connection) -> dict[str, int | None]:
    """Name of each model there, and the tokens that its context holds where the server tells."""
    models = field(await connection.exchange(_MODELS_PATH), "data")
    if not isinstance(models, list):
        raise Malformed("the answer has no list of models")
    return {_name(model): _length(model) for model in models}


def changed(url: str, what: str) -> TeacherChangedError:
    return TeacherChangedError(
        f"the teacher at {url} is not the one that the run began with: {what}. Serve the first one again and resume "
        "the run, or begin a new run."
    )


def _name(model: Any) -> str:
    name = field(model, "id")
    if not isinstance(name, str):
        raise Malformed("a model's id is no text")
    return name


def _length(model: Any) -> int | None:
    length = model.get("max_model_len")
    return length if isinstance(length, int) and length > 0 else None
