"""The task of arena B: reasoning-gym's ``spell_backward``, with a worked response to each word.

A problem reads ``Spell this word backward (example: sun -> nus): tyre``; the worked response spells the word, spells it
backward, and joins the letters. Words are cut differently by different tokenizers, and letters are not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crossdistill.errors import InputError
from crossdistill.eval.problem import Problem
from crossdistill.eval.task import TaskOptions
from crossdistill.eval.tasks import get
from crossdistill.runs.eval_tasks import EvalTaskTable
from crossdistill.runs.planned_task import PlannedTask

TASK = "reasoning_gym:spell_backward"
TRAINING_SEED = 30_000_000
"""Of the words to train on. A problem follows from seed + index: seeds less than a size apart share problems."""
HELD_OUT_SEEDS = {"validation": 10_000_000, "test": 20_000_000}
"""With the usual numbers of problems, no word is in both."""


@dataclass(frozen=True)
class Words:
    """Which words are asked.

    Attributes:
        shortest, longest: letters of a word.
        num_validation, num_test: problems of the two held-out sets.
        max_tokens: of a response.
    """

    shortest: int = 4
    longest: int = 6
    num_validation: int = 200
    num_test: int = 400
    max_tokens: int = 32

    def table(self, split: str) -> EvalTaskTable:
        """The table of the held-out set "validation" or "test", as a run file or the arena's file has it."""
        size = {"validation": self.num_validation, "test": self.num_test}[split]
        return self._table(HELD_OUT_SEEDS[split], size)

    def held_out(self, split: str) -> PlannedTask:
        """The held-out set, ready to be evaluated."""
        table = self.table(split)
        return PlannedTask.of(get(TASK), _options(table), table.sampling(get(TASK).sampling, {}))

    def training(self, num: int) -> list[str]:
        """Distinct words that no held-out problem asks.

        Raises:
            InputError: there are not as many, or a word is in both held-out sets.
        """
        validation, test = ({word_of(one) for one in self.held_out(split).problems} for split in HELD_OUT_SEEDS)
        if validation & test:
            raise InputError(f"validation and test problems share {sorted(validation & test)}: change their sizes.")
        drawn = get(TASK).problems(_options(self._table(TRAINING_SEED, num + num // 4)))
        words = [word for word in dict.fromkeys(map(word_of, drawn)) if word not in validation | test]
        if len(words) < num:
            raise InputError(f"{num} words were asked for, and {len(words)} differ: ask for fewer, or longer ones.")
        return words[:num]

    def _table(self, seed: int, size: int) -> EvalTaskTable:
        lengths = {"min_word_len": self.shortest, "max_word_len": self.longest}
        parameters = {"size": size, **lengths}
        return EvalTaskTable(task=TASK, seed=seed, instruction="", max_tokens=self.max_tokens, parameters=parameters)


def word_of(problem: Problem) -> str:
    """The word that a problem asks for."""
    word: str = problem.reference["metadata"]["word"]
    return word


def prompt_of(word: str) -> list[dict[str, str]]:
    """The problem's prompt as a conversation."""
    return [{"role": "user", "content": f"Spell this word backward (example: sun -> nus): {word}"}]


def worked(word: str) -> str:
    r"""A worked response.

    Example:
        >>> worked("tyre")
        't y r e\ne r y t\n<answer>eryt</answer>'
    """
    backward = word[::-1]
    return f"{' '.join(word)}\n{' '.join(backward)}\n<answer>{backward}</answer>"


def examples(words: list[str]) -> Iterator[dict[str, Any]]:
    """Rows for SFT."""
    return ({"prompt": prompt_of(word), "completion": worked(word)} for word in words)


def _options(table: EvalTaskTable) -> TaskOptions:
    return TaskOptions(seed=table.seed, instruction=table.instruction, parameters=table.parameters)
