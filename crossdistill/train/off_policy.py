"""Batches that the student did not sample: given responses, or responses that the teacher writes.

Lambda of GKD (Agarwal et al. 2306.13649, algorithm 1): with probability `on_policy_share` a batch of rollouts is the
student's own, else its responses come from elsewhere. The draw depends on the seed and the step alone, so all processes
agree and a resumed run goes on alike.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.stop import taught_stop
from crossdistill.costs import Part
from crossdistill.distill.rollout import Rollout
from crossdistill.errors import InputError
from crossdistill.objectives import Objective
from crossdistill.teachers import LocalTeacher, Teacher
from crossdistill.teachers.writing import write_responses
from crossdistill.tokens import ByteVocab

GIVEN, WRITTEN = "given", "teacher"
SOURCES = (GIVEN, WRITTEN)


def check_off_policy(share: float, source: str, objective: Objective | None) -> None:
    """Raises InputError for settings that mean nothing; objective: None where it is chosen later, to suit them."""
    if not 0 <= share <= 1 or math.isnan(share):
        raise InputError(f"on_policy_share is a share of the batches, from 0 to 1, not {share}.")
    if source not in SOURCES:
        raise InputError(f"off_policy must be one of {', '.join(SOURCES)}, not {source!r}.")
    if share < 1 and objective is not None and objective.on_policy_only:
        raise InputError(
            f"objective {objective.name!r} weighs what the student itself sampled, so it has no meaning on other "
            "responses: set on_policy_share to 1, or choose another objective."
        )


def check_responses(dataset: Any, share: float, source: str) -> None:
    """Given responses must be there."""
    if share == 1 or source != GIVEN or dataset is None or dataset.column_names is None:
        return
    if "completion" not in dataset.column_names:
        raise InputError(
            f"on_policy_share = {share} takes responses from the training data, which has no 'completion' column, only "
            f"{', '.join(dataset.column_names)}: add one (texts), or set off_policy to {WRITTEN!r}."
        )
    for row, completion in enumerate(dataset["completion"] if hasattr(dataset, "__len__") else []):
        if not isinstance(completion, str):
            raise InputError(f"the completion of row {row} is {completion!r}: it must be a text (quote numbers).")


class OffPolicyResponses:
    """Which batches are the student's, and the rollouts of the others.

    Args:
        args: the trainer's configuration. vocab: the student's. teachers: the one writes, where `off_policy` says so.

    Raises InputError where a teacher is to write and cannot, or tools are called.
    """

    def __init__(self, args: Any, student: PromptRenderer, vocab: ByteVocab, teachers: Sequence[Teacher]):
        self._args = args
        self._student = student
        self._vocab = vocab
        self._teacher = teachers[0]
        if args.on_policy_share == 1:
            return
        self._stop = taught_stop(student.tokenizer)
        if student.tools:
            raise InputError("given or written responses call no tools: set on_policy_share to 1, or give no tools.")
        if args.off_policy == WRITTEN and (len(teachers) > 1 or not isinstance(self._teacher, LocalTeacher)):
            raise InputError(
                "off_policy = 'teacher' has the teacher write responses, which takes a single local one: give one, or "
                "responses of your own (off_policy = 'given')."
            )

    @property
    def writer(self) -> Part | None:
        """Whose rollout the other batches are, for what they cost."""
        return Part.TEACHER_ROLLOUT if self._args.off_policy == WRITTEN else None

    def rollout(self, rows: Sequence[dict[str, Any]], step: int) -> Rollout | None:
        """Responses to the prompts in `rows` that nobody sampled from the student; None where it is its turn."""
        share = self._args.on_policy_share
        if share == 1 or np.random.default_rng([self._args.seed, step]).random() < share:
            return None
        prompts = [row["prompt"] for row in rows]
        prompt_ids = [self._student.render(prompt) for prompt in prompts]
        completions = [self._ids(text, ended) for text, ended in self._texts(rows, prompts, step)]
        return Rollout.of(prompts, prompt_ids, completions, None, None, is_sampled=False)

    def _texts(self, rows: Sequence[dict[str, Any]], prompts: list[Any], step: int) -> Iterator[tuple[str, bool]]:
        """Each response, and whether it ended."""
        if self.writer is None:
            yield from ((row["completion"], True) for row in rows)
            return
        assert isinstance(self._teacher, LocalTeacher)
        budget, temperature = self._args.max_completion_length, self._args.temperature
        written = write_responses(
            self._teacher.model,
            self._teacher.tokenizer,
            prompts,
            budget,
            temperature,
            seed=self._args.seed + self._args.process_index,
            first_row=step * len(prompts),
        )
        yield from ((response.text, response.stopped) for response in written)

    def _ids(self, text: str, ended: bool) -> list[int]:
        """In the student's tokens, cut to the budget as a sample would be."""
        ids = self._vocab.encode(text).ids.tolist()
        return [*ids, *([self._stop] if ended else [])][: self._args.max_completion_length]
