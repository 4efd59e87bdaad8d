"""Scores what the samplers of one process have sampled: whatever gathers while the teacher works is the next batch."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from crossdistill.chat.messages import Message
from crossdistill.distill import Distiller
from crossdistill.errors import InputError, TeacherError
from crossdistill.integrations.verl.record import Record, ResponseError
from crossdistill.integrations.verl.teaching import Teaching

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Sample:
    """A response as verl sampled it.

    Attributes:
        prompt: the messages of the data's row.
        prompt_ids: the prompt that verl has given to the sampler.
        ids: sampled tokens and tool results, without padding.
        mask: 1 at sampled tokens, 0 at tool results.
        logprobs: nats, of each token; None if verl has none.
        conversation: the messages that followed the prompt: of the assistant, and of tools.
        tools: JSON schemas that the student was shown.
        teacher: the teacher that the data's row names, if there are several.
    """

    prompt: Sequence[Message]
    prompt_ids: Sequence[int]
    ids: Sequence[int]
    mask: Sequence[int]
    logprobs: Sequence[float] | None
    conversation: Sequence[Message] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    teacher: str | None = None


@dataclass(frozen=True)
class ScoredSample:
    """A response with its teacher's signal.

    Attributes:
        advantages: nats, float32 [tokens]; 0 where `mask` is False.
        mask: bool [tokens], the supervised ones.
        record: figures for the log.
    """

    advantages: np.ndarray
    mask: np.ndarray
    record: Record


class SampleScorer:
    """Scores samples, as many at a time as there are.

    Args:
        teaching: the teachers of the run.
    """

    def __init__(self, teaching: Teaching):
        self._teaching = teaching

    def stop_ids(self, tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """The token ids that end the student's turns."""
        return list(self._teaching.distiller(tools).stop_ids)

    def score(self, samples: Sequence[Sample]) -> list[ScoredSample]:
        """Score samples; those with the same tools in one call of the teacher.

        Raises:
            InputError: a sample that cannot be scored.
            TeacherError: the teacher failed.
        """
        scored: dict[int, ScoredSample] = {}
        by_tools: dict[int, list[int]] = {}
        distillers = [self._teaching.distiller(sample.tools) for sample in samples]
        for number, distiller in enumerate(distillers):
            by_tools.setdefault(id(distiller), []).append(number)
        for numbers in by_tools.values():
            chosen = [samples[number] for number in numbers]
            scored.update(zip(numbers, _scored(distillers[numbers[0]], chosen), strict=True))
        return [scored[number] for number in range(len(samples))]


class Gathering(Generic[T, R]):
    """Calls a slow function on what has gathered since its last call. Belongs to one event loop.

    If the teacher fails, all later items fail with its error at once: a dead server is waited for only once. Any other
    error is that of the items of its call alone.

    Args:
        call: results of a list of items, in order; it runs in a thread.

    Example:
        >>> async def main():
        ...     doubled = Gathering(lambda items: [2 * item for item in items])
        ...     return await asyncio.gather(*(doubled.of(number) for number in range(3)))
        >>> asyncio.run(main())
        [0, 2, 4]
    """

    def __init__(self, call: Callable[[list[T]], Sequence[R]]):
        self._call = call
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None
        self._error: TeacherError | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="crossdistill-scoring")

    async def of(self, item: T) -> R:
        """The result of one item.

        Raises:
            TeacherError: the teacher failed, at this item or before.
            InputError: what the call of this item has raised.
            ResponseError: another exception of its call, which is logged with its traceback.
        """
        if self._error is not None:
            raise self._error
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            running = asyncio.get_running_loop().run_in_executor(self._thread, self._call, [item for item, _ in batch])
            await asyncio.wait([running])
            error = running.exception()
            if isinstance(error, TeacherError):
                self._error = error
                batch, self._waiting = [*batch, *self._waiting], []
            if error is not None:
                _fail(batch, error)
                continue
            for (_, future), result in zip(batch, running.result(), strict=True):
                if not future.cancelled():
                    future.set_result(result)


def _fail(batch: Sequence[tuple[Any, asyncio.Future[Any]]], error: BaseException) -> None:
    told = error
    if not isinstance(error, InputError | TeacherError):
        logging.getLogger(__name__).error("scoring failed", exc_info=error)
        told = ResponseError(
            f"a response could not be scored, because of {type(error).__name__}: {error} (its traceback is in verl's "
            "log). This is a fault of crossdistill or of a library: please report it."
        )
    for _, future in batch:
        if not future.cancelled():
            future.set_exception(told)


def _scored(distiller: Distiller, samples: Sequence[Sample]) -> list[ScoredSample]:
    for sample in samples:
        _check(distiller, sample)
    tokenizer = distiller.renderer.tokenizer
    ends = [tokenizer.convert_ids_to_tokens(stop) for stop in distiller.stop_ids]
    batch = distiller.score(
        [list(sample.prompt) for sample in samples],
        [sample.ids for sample in samples],
        [sample.logprobs or [] for sample in samples],
        teachers=[sample.teacher for sample in samples],
        sampled_masks=[sample.mask for sample in samples],
        conversations=[without_ends(turns(sample.conversation, sample.mask), ends) for sample in samples],
    )
    return [
        ScoredSample(
            batch.advantages[row, : len(sample.ids)].numpy(),
            batch.loss_mask[row, : len(sample.ids)].numpy(),
            Record.of(batch.row(row)),
        )
        for row, sample in enumerate(samples)
    ]


def _check(distiller: Distiller, sample: Sample) -> None:
    if sample.ids and sample.logprobs is None:
        raise InputError(
            "verl's sampler returned no log-probabilities, and credit needs them: set "
            "actor_rollout_ref.rollout.calculate_log_probs=True."
        )
    prompt_ids = distiller.renderer.render(list(sample.prompt))
    if list(sample.prompt_ids) == prompt_ids:
        return
    if len(sample.prompt_ids) < len(prompt_ids) and prompt_ids[-len(sample.prompt_ids) :] == list(sample.prompt_ids):
        raise InputError(
            f"verl cut a prompt of {len(prompt_ids)} tokens to {len(sample.prompt_ids)}, and the teacher would read it "
            "whole: raise data.max_prompt_length, or set data.filter_overlong_prompts=True."
        )
    raise InputError(
        "verl gave the sampler another prompt than the student's chat template renders for its messages: let "
        "actor_rollout_ref.model.tokenizer_path and custom_chat_template be those of the model, and "
        "data.apply_chat_template_kwargs the template's only settings."
    )


def turns(conversation: Sequence[Message], mask: Sequence[int]) -> list[Message]:
    """The messages up to the last turn of which tokens are left, one of the assistant for each stretch of the mask.

    verl cuts a conversation at its budget, and does not write down a turn that ends it.

    Args:
        conversation: the messages that followed the prompt.
        mask: 1 at sampled tokens.

    Example:
        >>> said, result = {"role": "assistant", "content": "2 + 2"}, {"role": "tool", "content": "4"}
        >>> turns([said, result], [1, 1, 0])
        [{'role': 'assistant', 'content': '2 + 2'}]
        >>> [message["role"] for message in turns([said, result], [1, 1, 0, 1])]
        ['assistant', 'tool', 'assistant']
    """
    num_turns = int((np.diff([0, *mask]) == 1).sum())
    said = [position for position, message in enumerate(conversation) if message["role"] == "assistant"]
    if num_turns > len(said):
        return [*conversation, {"role": "assistant", "content": ""}]
    return list(conversation[: said[num_turns - 1] + 1]) if num_turns else []


def without_ends(conversation: Sequence[Message], ends: Sequence[str]) -> list[Message]:
    """The messages without the stop tokens of the student, which verl leaves in the text of its turns.

    A teacher would read them as text of the answer.

    Args:
        conversation: messages.
        ends: the stop tokens, as text.

    Example:
        >>> without_ends([{"role": "assistant", "content": "Let me add.<|im_end|>"}], ["<|im_end|>"])
        [{'role': 'assistant', 'content': 'Let me add.'}]
    """
    return [_without_end(message, ends) if message["role"] == "assistant" else message for message in conversation]


def _without_end(message: Message, ends: Sequence[str]) -> Message:
    content = message.get("content")
    for end in ends:
        if isinstance(content, str) and content.endswith(end):
            return {**message, "content": content.removesuffix(end)}
    return message
