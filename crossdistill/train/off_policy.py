"""Rollouts that the student did not sample: given responses, or responses that the teacher writes.

Lambda of GKD (Agarwal et al. 2306.13649, algorithm 1): with probability `on_policy_share` a batch of rollouts is the
student's own, otherwise its responses come from elsewhere. The draw depends on the seed and the step alone, so all
processes agree, and a resumed run goes on alike.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from crossdistill.chat.messages import Prompt
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.stop import taught_stop
from crossdistill.costs import Part
from crossdistill.distill.rollout import Rollout
from crossdistill.distill.routing import COLUMN
from crossdistill.errors import InputError
from crossdistill.findings import Finding, FindingLog
from crossdistill.objectives import Objective
from crossdistill.teachers import Teacher
from crossdistill.teachers.writing import check_one_each, left_out_findings
from crossdistill.tokens import ByteVocab
from crossdistill.train.completions import NOTHING_WRITTEN, Completions, completion_text

GIVEN, BY_TEACHER = "given", "teacher"
SOURCES = (GIVEN, BY_TEACHER)


def check_off_policy(share: float, source: str, objective: Objective | None) -> None:
    """Raises InputError for settings that have no meaning; objective: None if it is chosen later, to suit them."""
    if not 0 <= share <= 1 or math.isnan(share):
        raise InputError(f"on_policy_share is a share of the batches, from 0 to 1, not {share}.")
    if source not in SOURCES:
        raise InputError(f"off_policy must be one of {', '.join(SOURCES)}, not {source!r}.")
    if share < 1 and objective is not None and objective.on_policy_only:
        raise InputError(
            f"objective {objective.name!r} weighs what the student itself sampled, so it has no meaning on other "
            "responses: set on_policy_share to 1, or choose another objective."
        )


def check_writer(args: Any, num_teachers: int, can_write: bool = True) -> None:
    """Raises InputError if the teacher is to write responses and it is not a single one that can.

    Args:
        args: the trainer's configuration.
        num_teachers: a reference among them.
        can_write: whether the first one can; not asked before it is loaded.
    """
    if args.on_policy_share < 1 and args.off_policy == BY_TEACHER and (num_teachers > 1 or not can_write):
        raise InputError(
            "off_policy = 'teacher' has the teacher write responses, which takes a single local one: give one, or "
            "responses of your own (off_policy = 'given')."
        )


def check_responses(dataset: Any, share: float, source: str) -> None:
    """Raises InputError if responses are to be given and are not there."""
    if share == 1 or source != GIVEN or dataset is None or dataset.column_names is None:
        return
    if "completion" not in dataset.column_names:
        raise InputError(
            f"on_policy_share = {share} takes responses from the training data, which has no 'completion' column, only "
            f"{', '.join(dataset.column_names)}: add one (texts), or set off_policy to {BY_TEACHER!r}."
        )
    for row, completion in enumerate(dataset["completion"] if hasattr(dataset, "__len__") else []):
        completion_text(row, completion)


def completion_findings(args: Any, dataset: Any, completions: Completions) -> Iterator[Finding]:
    """What is to be said of the responses that a data set gives; those of a stream are read as they come.

    Args:
        args: the trainer's configuration.
        dataset: of training; None if there is none.
        completions: reads them.
    """
    if args.on_policy_share < 1 and args.off_policy == GIVEN and hasattr(dataset, "__len__"):
        for completion in dataset["completion"]:
            completions.read(completion)
        yield from completions.findings()


class OffPolicyResponses:
    """Decides which batches are the student's, and makes the rollouts of the others.

    Args:
        args: the trainer's configuration.
        student: renders the student's prompts.
        vocab: the student's.
        teachers: the only one writes, if `off_policy` says so.
        findings: takes up what is found in written responses; given ones were read before.

    Raises:
        InputError: a teacher is to write and cannot, or tools are called.
    """

    def __init__(
        self,
        args: Any,
        student: PromptRenderer,
        vocab: ByteVocab,
        teachers: Sequence[Teacher],
        findings: FindingLog,
    ):
        self._args = args
        self._student = student
        self._vocab = vocab
        self._teacher = teachers[0]
        self._stop = taught_stop(student.tokenizer)
        self._completions = Completions(student.tokenizer, text_tokens=args.text_tokens or ())
        self._findings = findings
        self._has_told_of_empty = False
        if student.tools:
            raise InputError("given or written responses call no tools: set on_policy_share to 1, or give no tools.")
        check_writer(args, len(teachers), self._teacher.can_write)

    @property
    def written_by(self) -> Part | None:
        """Whose rollouts these are, for costs; None if they are given."""
        return Part.TEACHER_ROLLOUT if self._args.off_policy == BY_TEACHER else None

    def rollout(self, rows: Sequence[Mapping[str, Any]], step: int) -> Rollout | None:
        """Responses to the prompts in `rows` that the student did not sample; None if it is the student's turn."""
        if np.random.default_rng([self._args.seed, step]).random() < self._args.on_policy_share:
            return None
        prompts: list[Prompt] = [row["prompt"] for row in rows]
        prompt_ids = self._student.render_all(prompts)
        if self.written_by is None:
            texts = [completion_text(number, row["completion"]) for number, row in enumerate(rows)]
            completions = [self._ids(self._completions.without_own_end(text), ended=True) for text in texts]
        else:
            completions = [self._ids(text, ended) for text, ended in self._written(prompts, step)]
        names = [row.get(COLUMN) for row in rows]
        groups = [row // self._args.num_generations for row in range(len(rows))]  # as the sampler repeats prompts
        return Rollout.of(prompts, prompt_ids, completions, is_sampled=False, teachers=names, groups=groups)

    def _written(self, prompts: list[Prompt], step: int) -> list[tuple[str, bool]]:
        """Each response, and whether it ended. Of an empty one nothing is learned."""
        written = list(
            self._teacher.write(
                prompts,
                self._args.max_completion_length,
                self._args.temperature,
                seed=self._args.seed + self._args.process_index,
                first_row=step * len(prompts),
            )
        )
        self._findings.add_all(left_out_findings(written))
        texts = [(self._completions.without_own_end(one.text), one.stopped) for one in written]
        check_one_each(len(prompts), len(texts))
        empty = sum(not text.strip() for text, _ in texts)
        if empty and not self._has_told_of_empty:
            self._has_told_of_empty = True
            self._findings.add(NOTHING_WRITTEN(count=empty, prompts=f"{len(texts)} prompts of step {step}"))
        return [(text, ended) if text.strip() else ("", False) for text, ended in texts]

    def _ids(self, text: str, ended: bool) -> list[int]:
        """A response in the student's tokens, cut to the budget as a sample would be."""
        ids = self._vocab.encode(text).ids.tolist()
        return [*ids, *([self._stop] if ended else [])][: self._args.max_completion_length]
