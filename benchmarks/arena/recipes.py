"""How each model of arena A is built."""

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from transformers import PreTrainedTokenizerFast

from benchmarks.arena import vocabularies
from benchmarks.arena.sentences import sentence
from benchmarks.arena.sorting import Habits, draw_animals, make_problem, written_list
from crossdistill.demo.task import operand_pairs
from tools import build_demo_models as demo
from tools.demo_tokenizers import build_student_tokenizer
from tools.tiny_training import Example, Stage, encode_example, encode_text

Draw = Callable[[PreTrainedTokenizerFast, random.Random], Example]

STUDENT_HABITS = Habits(forgotten_ties=0.65, slip=0.0)
TEACHER_HABITS = Habits(forgotten_ties=0.0, slip=0.05)
SENTENCES = 0.2
"""Share of the sorting student's pretraining examples that are sentences."""
SUMS_TRAINING = demo.TEACHER_TRAINING
SORTING_TRAINING = Stage(steps=800, batch_size=64, learning_rate=2e-3)
SHORT_TRAINING = replace(SORTING_TRAINING, steps=500)
"""Enough for sorting, as the loss of the first two models showed."""
STUDENT_SFT = demo.STUDENT_SFT


@dataclass(frozen=True)
class Recipe:
    """How a model is built.

    Attributes:
        task: that it learns.
        tokenizer: makes its tokenizer.
        drawing: makes the function that draws an example of its text.
        text: error rates of this text and the like, for the record.
        stage: of this training.
        is_student: a student is warm-started on the task's worked examples.
        num_layers: of a teacher.
    """

    task: str
    tokenizer: Callable[[], PreTrainedTokenizerFast]
    drawing: Callable[[], Draw]
    text: dict[str, Any]
    stage: Stage = SORTING_TRAINING
    is_student: bool = False
    num_layers: int = 3


def _sums() -> Draw:
    """Worked sums of the demo's train split."""
    pairs = operand_pairs("train")
    return lambda tokenizer, rng: encode_example(
        tokenizer, *demo.worked_sum(*rng.choice(pairs), demo.TEACHER_HABITS, rng)
    )


def _list(tokenizer: PreTrainedTokenizerFast, habits: Habits, rng: random.Random) -> Example:
    animals = draw_animals("train", rng)
    return encode_example(tokenizer, make_problem(animals).prompt, written_list(animals, habits, rng))


def _sorted_lists() -> Draw:
    """Lists as the teachers learn them."""
    return lambda tokenizer, rng: _list(tokenizer, TEACHER_HABITS, rng)


def _lists_and_sentences() -> Draw:
    """What the student of sorting learns."""

    def draw(tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> Example:
        if rng.random() < SENTENCES:
            return encode_text(tokenizer, sentence(rng))
        return _list(tokenizer, STUDENT_HABITS, rng)

    return draw


def _sums_teacher(tokenizer: Callable[[], PreTrainedTokenizerFast]) -> Recipe:
    return Recipe("sums", tokenizer, _sums, asdict(demo.TEACHER_HABITS), SUMS_TRAINING, num_layers=4)


def _sorting_teacher(tokenizer: Callable[[], PreTrainedTokenizerFast], stage: Stage) -> Recipe:
    return Recipe("sorting", tokenizer, _sorted_lists, asdict(TEACHER_HABITS), stage)


RECIPES = {
    "sums-same": _sums_teacher(build_student_tokenizer),
    "sums-fine": _sums_teacher(vocabularies.sums_fine),
    "sums-coarse": _sums_teacher(vocabularies.sums_coarse),
    "sorting-student": Recipe(
        "sorting",
        vocabularies.sorting_same,
        _lists_and_sentences,
        {**asdict(STUDENT_HABITS), "sentences": SENTENCES},
        is_student=True,
    ),
    "sorting-same": _sorting_teacher(vocabularies.sorting_same, SORTING_TRAINING),
    "sorting-fine": _sorting_teacher(vocabularies.sorting_fine, SHORT_TRAINING),
    "sorting-mixed": _sorting_teacher(vocabularies.sorting_mixed, SHORT_TRAINING),
}
"""Name of the folder -> recipe. The sums' student and mixed teacher are the demo's."""
