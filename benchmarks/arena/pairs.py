"""The pairs of arena A, and how their tokens lie to each other in worked solutions of validation problems."""

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from benchmarks.arena.data import TASKS
from benchmarks.arena.split_task import SEEDS
from crossdistill import ByteVocab
from crossdistill.demo.run import asset
from crossdistill.inspection.documents import Document
from crossdistill.inspection.measure import Measure, read_documents

NUM_SOLUTIONS = 400
DEMO_MODELS = {"sums-student": "student", "sums-mixed": "teacher"}
"""Models of the arena that are the demo's."""
TOKENIZERS = {"sums": ("same", "fine", "coarse", "mixed"), "sorting": ("same", "fine", "mixed")}
"""Tokenizers of a task's teachers, against the student's. Sorting has no coarse one: with whole animals as tokens, a
teacher of this size solved 85.5 % after 500 steps."""


def model_folder(models: Path, name: str) -> str:
    """Folder of a model."""
    return asset(DEMO_MODELS[name]) if name in DEMO_MODELS else str(models / name)


def measure_pairs(models: Path) -> dict[str, dict[str, Any]]:
    """Tokens per byte, coverage, and shares of student tokens in each kind of chunk, of each pair."""
    return {
        f"{task}-{kind}": _figures(
            measured(_vocab(models, f"{task}-student"), _vocab(models, f"{task}-{kind}"), _solutions(task))
        )
        for task in TASKS
        for kind in TOKENIZERS[task]
    }


def _vocab(models: Path, name: str) -> ByteVocab:
    return ByteVocab.from_tokenizer(AutoTokenizer.from_pretrained(model_folder(models, name)))


def _solutions(task: str) -> list[Document]:
    problems = TASKS[task].draw("validation", NUM_SOLUTIONS, SEEDS["validation"])
    return [Document(task, problem.prompt, problem.solution.encode()) for problem in problems]


def measured(student: ByteVocab, teacher: ByteVocab, documents: list[Document]) -> Measure:
    """What the aligned documents show."""
    return Measure.of(read_documents(student, teacher, documents))


def _figures(measure: Measure) -> dict[str, Any]:
    return {
        "student_tokens_per_byte": round(measure.student_tokens / measure.bytes, 4),
        "teacher_tokens_per_byte": round(measure.teacher_tokens / measure.bytes, 4),
        "coverage": measure.coverage,
        "one_to_one_share": round(measure.one_to_one_share, 4),
        "shared_credit_share": round(measure.shared_credit_share, 4),
        "spanning_share": round(measure.spanning_share, 4),
    }
