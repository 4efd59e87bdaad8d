"""Responses of a model behind an OpenAI-compatible server, many at a time."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from crossdistill.errors import InputError, ServerError
from crossdistill.eval.generation.base import Generator, Wanted, Written
from crossdistill.eval.generation.choice import generator_of
from crossdistill.eval.generation.prompts import messages_of
from crossdistill.eval.sampling import Sampling
from crossdistill.teachers.served.api.answers import field
from crossdistill.teachers.served.api.client import models_at_first, served_models
from crossdistill.teachers.served.http.connection import Connection
from crossdistill.teachers.served.http.errors import Malformed, Refused, Transient
from crossdistill.teachers.served.http.loop_thread import LoopThread
from crossdistill.teachers.served.http.retry_policy import RetryPolicy
from crossdistill.teachers.served.options import ServedOptions

_PATH = "/v1/chat/completions"
_TRIES, _ROUNDS = 3, 3


class ServedGenerator(Generator):
    """Asks a server for chat completions. Nothing is asked twice: the file of samples is what was answered so far.

    Args:
        url: of the server, with or without ``/v1``.
        options: its limits; see :class:`ServedOptions`. The API key is read from the environment.

    Attributes:
        model: the model's name on the server.

    Raises:
        InputError: the URL or the key cannot be used, the server refuses them, or it serves several models and
            ``options.model`` names none of them; or it cannot be reached.
        ServerError: the server does not answer.
    """

    def __init__(self, url: str, options: ServedOptions):
        self._options = options
        self._connection = Connection(url, options, what="model")
        self._retry = RetryPolicy(self._connection.url, options.patience_s, self._connection.traffic, what="model")
        self._thread = LoopThread()
        self._asking: asyncio.Task[None] | None = None
        with ExitStack() as undo:
            undo.callback(self._close)
            self.model = self._named()
            undo.pop_all()

    def write(self, wanted: Sequence[Wanted], sampling: Sampling) -> Iterator[Written]:
        """See :meth:`Generator.write`. A sample that the server refuses or fails again and again does not end the rest.

        Raises:
            ServerError: the server failed for good; or, once all others are written, some samples failed.
        """
        answers: SimpleQueue[Written | str | None] = SimpleQueue()
        failures: Counter[str] = Counter()
        with ThreadPoolExecutor(max_workers=1) as pool:
            asked: Future[None] = pool.submit(self._thread.run, self._ask_all(wanted, sampling, answers))
            asked.add_done_callback(lambda _: answers.put(None))
            try:
                while (answer := answers.get()) is not None:
                    if isinstance(answer, str):
                        failures[answer] += 1
                    else:
                        yield answer
            finally:
                self._thread.call(self._cancel)  # in case the caller wants no more
            asked.result()
        if failures:
            [(reason, _)] = failures.most_common(1)
            raise ServerError(
                f"the server at {self._connection.url} answered {len(wanted) - failures.total():,} of {len(wanted):,} "
                f"samples; of the others it says: {reason}."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        self._thread.run(self._connection.close())
        self._thread.close()

    async def _ask_all(self, wanted: Sequence[Wanted], sampling: Sampling, answers: "SimpleQueue[Any]") -> None:
        """Ask for samples side by side; each answer, or the reason why there is none, goes to `answers`."""
        self._asking, waiting = asyncio.current_task(), iter(wanted)

        async def work() -> None:
            for one in waiting:
                try:
                    answers.put(await self._settled(one, sampling))
                except (Transient, Refused) as failure:
                    answers.put(str(failure))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._options.max_in_flight, len(wanted))):
                    group.create_task(work())
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            self._asking = None

    def _cancel(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    async def _settled(self, wanted: Wanted, sampling: Sampling) -> Written:
        """The answer; a failure if the server, which is there, fails again and again: then the sample is at fault."""
        body = self._body(wanted, sampling)

        async def ask() -> Written:
            began = time.monotonic()
            written: Written = await self._connection.exchange(
                _PATH, body, lambda answer: _written(answer, wanted, time.monotonic() - began)
            )
            return written

        for _ in range(_ROUNDS - 1):
            try:
                return await self._retry(ask, _TRIES)
            except Transient:
                await self._retry(self._models)  # waits for a server that is down
        return await self._retry(ask, _TRIES)

    def _body(self, wanted: Wanted, sampling: Sampling) -> dict[str, Any]:
        seed = int(generator_of(sampling.seed, wanted.problem.id, wanted.index).integers(2**31))
        kwargs = {"chat_template_kwargs": dict(sampling.template_kwargs)} if sampling.template_kwargs else {}
        return {
            "model": self.model,
            "messages": messages_of(wanted.problem.prompt, sampling.system),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": seed,
            **kwargs,
        }

    async def _models(self) -> dict[str, int | None]:
        return await served_models(self._connection)

    def _named(self) -> str:
        """The model's name, once the server has said what it serves."""
        try:
            models = self._thread.run(self._retry(lambda: models_at_first(self._connection, self._options)))
        except Refused as refusal:
            raise InputError(f"the server at {self._connection.url} lists no models: {refusal}.") from None
        name = self._options.model
        if name is None and len(models) == 1:
            return next(iter(models))
        if name in models:
            return str(name)
        what = "serves several models" if name is None else f"does not serve {name!r}"
        raise InputError(
            f"the server at {self._connection.url} {what}: name one of {', '.join(models) or 'none'} with "
            "--server model=NAME."
        )


def _written(answer: Any, wanted: Wanted, seconds: float) -> Written:
    text, usage = field(answer, "choices", 0, "message", "content"), field(answer, "usage")
    tokens = field(usage, "completion_tokens")
    if not isinstance(text, str | None) or not isinstance(tokens, int):
        raise Malformed("the answer's text or its usage is of another form")
    prompt_tokens = usage.get("prompt_tokens")
    return Written(
        wanted=wanted,
        response=text or "",
        finish_reason=str(field(answer, "choices", 0, "finish_reason")),
        tokens=tokens,
        seconds=seconds,
        prompt_tokens=prompt_tokens if isinstance(prompt_tokens, int) else None,
    )
