"""Tables of the arena's file: tasks, pairs, methods, claims, and how the teacher writes."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from crossdistill.runs.config import TeacherTable
from crossdistill.runs.eval_tasks import EvalTaskTable
from crossdistill.runs.tables import File

Control = Literal["sft", "seqkd", "same_tokenizer"]
CONTROLS: tuple[Control, ...] = ("sft", "seqkd", "same_tokenizer")
"""Rows beside the methods: SFT continued on the given examples, SFT on the teacher's responses to the same prompts
(SeqKD), and on-policy distillation under a teacher with the student's own tokenizer."""


class ArenaTable(File):
    """A table of the arena's file, whose values are of the types that it says: ``true`` is no number, nor is "3"."""

    model_config = ConfigDict(strict=True)


class TaskTable(ArenaTable):
    """A task: a table ``[tasks.NAME]``."""

    prompts: str = Field(min_length=1, description="Training prompts: a file, a saved data set's folder or a hub id.")
    examples: str | None = Field(
        default=None,
        min_length=1,
        description="Worked examples (`prompt`, `completion`) for the control sft; without them it is "
        "shown as not run.",
    )
    validation: EvalTaskTable = Field(
        description="Problems on which rates are tuned and curves are drawn: the keys of [eval_tasks.NAME]."
    )
    test: EvalTaskTable = Field(description="Problems that each trained student answers once: likewise.")
    unrelated: str | None = Field(
        default=None,
        min_length=1,
        description="A text file of another kind: bits per byte before and after tell what is forgotten.",
    )


class PairTable(ArenaTable):
    """A student and a teacher on a task: a table ``[pairs.NAME]``."""

    task: str = Field(description="Name of one of [tasks].")
    student: str = Field(min_length=1, description="Student: a folder or a hub id. All methods start from it.")
    teacher: str = Field(min_length=1, description="Teacher: a folder, a hub id or the URL of a server.")
    teacher_tokenizer: str | None = Field(default=None, min_length=1, description="The teacher's tokenizer, for a URL.")
    same_tokenizer_teacher: str | None = Field(
        default=None,
        min_length=1,
        description="Teacher with the student's own tokenizer, for the control same_tokenizer.",
    )
    train: dict[str, Any] = Field(default_factory=dict, description="Keys of [train] that differ for this pair.")


class MethodTable(ArenaTable):
    """A method: a table ``[methods.NAME]``, empty if the name is an objective's."""

    objective: str | None = Field(default=None, description="Its objective, if the table has another name.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the objective.")
    train: dict[str, Any] = Field(default_factory=dict, description="Keys of [train] that the method needs.")
    teachers: dict[str, TeacherTable] | None = Field(
        default=None, description="Tables [teachers.NAME] beside the pair's teacher, such as reference."
    )
    pairs: list[str] | None = Field(default=None, description="The pairs that it is run on; all if left out.")


class ClaimTable(ArenaTable):
    """Something that is said of two methods, to be answered on every pair that has both: a table ``[[claims]]``."""

    claim: str = Field(description="In a few words, such as: on-policy distillation is better than SFT.")
    better: str = Field(description="The method or control that is said to be better.")
    worse: str = Field(description="The one that is said to be worse.")
    source: str | None = Field(default=None, description="Who says so, with its figures.")


class TeacherWritesTable(ArenaTable):
    """How the teacher writes for seqkd, with the keys and defaults of ``crossdistill sft``: ``[teacher_writes]``."""

    max_new_tokens: int = Field(default=512, gt=0, description="Longest response that the teacher may write.")
    temperature: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="Sampling temperature of the teacher; 0 is greedy."
    )
    batch_size: int = Field(default=16, gt=0, description="Responses that the teacher writes at once.")
    text_tokens: list[str] = Field(
        default_factory=list,
        description="Special tokens of student or teacher that are words of a response, such as <think>.",
    )
