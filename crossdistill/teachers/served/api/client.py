"""One request to a server, in its dialect."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from crossdistill.errors import InputError, TeacherChangedError
from crossdistill.teachers.served.api.answers import PromptLogprobs, field
from crossdistill.teachers.served.api.dialect import Dialect
from crossdistill.teachers.served.http.connection import Connection
from crossdistill.teachers.served.http.errors import Malformed, Unreachable, quoted
from crossdistill.teachers.served.http.reaching import CONNECT_S, FIRST_CONNECT_S
from crossdistill.teachers.served.options import ServedOptions

_MODELS_PATH = "/v1/models"


class ScoringClient:
    """Sends one request and reads its answer; retries are the business of RetryPolicy.

    Every method raises Transient, Malformed or Refused if the request fails, and TeacherChangedError if another model
    answers.

    Args:
        connection: to the server.
        dialect: that the server understands.
        model: its name on the server.
        answers_as: the name of the model that answers carry; None if it is not known.

    Attributes:
        dialect: see above.
    """

    def __init__(self, connection: Connection, dialect: Dialect, model: str, answers_as: str | None = None):
        self.dialect = dialect
        self._connection = connection
        self._model = model
        self._answers_as = answers_as

    async def score(self, ids: Sequence[int], top_k: int, first: int = 0) -> PromptLogprobs:
        """Return the log-probabilities of at least two ids, and the `top_k` most probable tokens at each position.

        Args:
            ids: token ids.
            top_k: most probable tokens at each position; 0 for none.
            first: row with which the result begins; those before it are of a prompt.
        """
        scores: PromptLogprobs = await self._exchange(
            self.dialect.body_from(ids, top_k, first), lambda answer: self.dialect.read_from(answer, ids, top_k, first)
        )
        return scores

    async def next(self, ids: Sequence[int], wanted: Sequence[int]) -> np.ndarray | None:
        """Return nats of the wanted ids after `ids`, float32 [len(wanted)]; None if the dialect cannot ask for them."""
        body = self.dialect.next_body(ids, wanted)
        if body is None:
            return None
        logprobs: np.ndarray = await self._exchange(body, lambda answer: self.dialect.read_next(answer, wanted))
        return logprobs

    async def answer(self, body: dict[str, Any]) -> Any:
        """Return the answer to a request as the server gave it."""
        return await self._exchange(body, lambda answer: answer)

    async def _exchange(self, body: dict[str, Any], read: Callable[[Any], Any]) -> Any:
        def read_if_same_model(answer: Any) -> Any:
            name = answering_model(answer)
            if None not in (name, self._answers_as) and name != self._answers_as:
                raise changed(self._connection.url, f"{quoted(name)} answers in place of {quoted(self._answers_as)}")
            return read(answer)

        return await self._connection.exchange(self.dialect.path, {"model": self._model, **body}, read_if_same_model)


def answering_model(answer: Any) -> str | None:
    """Name of the model that gave an answer; None if the answer does not carry it."""
    name = answer.get("model") if isinstance(answer, dict) else None
    return name if isinstance(name, str) else None


async def served_models(connection: Connection, connect_s: float = CONNECT_S) -> dict[str, int | None]:
    """Ask for the names of the models on a server, and for the length of each one's context (None if unknown).

    Args:
        connection: to the server.
        connect_s: seconds for a connection, if there is none yet.
    """
    models = field(await connection.exchange(_MODELS_PATH, connect_s=connect_s), "data")
    if not isinstance(models, list):
        raise Malformed("the answer has no list of models")
    return {_name(model): _length(model) for model in models}


async def models_at_first(connection: Connection, options: ServedOptions) -> dict[str, int | None]:
    """The models of a server that was not asked before: one that is slow or busy is there, one without a port is not.

    Args:
        connection: to the server.
        options: say whether it may be starting.

    Raises:
        InputError: it cannot be reached, and is not waited for.
        Transient, Refused: as of any request.
    """
    try:
        return await served_models(connection, FIRST_CONNECT_S)
    except Unreachable as reason:
        if options.wait_for_start:
            raise
        raise InputError(
            f"the {connection.what} at {connection.url} cannot be reached ({reason}): start its server or correct the "
            "URL; one that is still starting is waited for with wait_for_start = true in its settings."
        ) from None


def changed(url: str, difference: str) -> TeacherChangedError:
    """An error that says how the model at a URL differs from the one with which the run began."""
    return TeacherChangedError(
        f"the teacher at {url} is not the one that the run began with: {difference}. Serve the first one again and "
        "resume the run, or begin a new run."
    )


def _name(model: Any) -> str:
    name = field(model, "id")
    if not isinstance(name, str):
        raise Malformed("the id of a model is not text")
    return name


def _length(model: Any) -> int | None:
    length = model.get("max_model_len")
    return length if isinstance(length, int) and length > 0 else None
