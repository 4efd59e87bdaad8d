"""Tables ``[eval_tasks.NAME]`` of a run file: problems that the student's accuracy is measured on during training."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from crossdistill import import_path
from crossdistill.eval.sampling import Sampling


class EvalTaskTable(BaseModel):
    """One task that the student is evaluated on during a run: a table ``[eval_tasks.NAME]``.

    Example:
        >>> EvalTaskTable(limit=100).sampling(Sampling(k=8, temperature=0.6, max_tokens=512), {})
        Sampling(k=1, temperature=0.0, top_p=1.0, max_tokens=512, seed=0, template_kwargs={}, system=None)
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    task: str | None = Field(
        default=None,
        description="Its task, if the table has another name: anything that `crossdistill eval --task` takes, such as "
        "aime24, reasoning_gym:NAME or the import path of your own (my_package.my_file:MyTask).",
    )
    source: str | None = Field(
        default=None,
        description="A file, folder or hub id with its problems, in place of the task's own; under a name that is no "
        "task's, a file of your own.",
    )
    limit: int | None = Field(default=None, ge=1, description="Number of problems, drawn by the seed; all if left out.")
    seed: int = Field(default=0, ge=0, description="Of the problems that are drawn, and of the samples.")
    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False, description="0, the default, is greedy.")
    k: int | None = Field(default=None, ge=1, description="Samples of each problem; 1 if they are greedy.")
    top_p: float | None = Field(default=None, gt=0, le=1, description="Share of the probability that is sampled from.")
    max_tokens: int | None = Field(default=None, ge=1, description="Most tokens of a response; the task's if left out.")
    instruction: str | None = Field(
        default=None,
        description="What is added to each prompt, in place of the task's own text; may be empty.",
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="Of the task itself, such as size.")
    system: str | None = Field(default=None, description="A system message before each prompt.")
    unsandboxed: bool = Field(default=False, description="Run the code of responses without a sandbox.")
    sandbox: Literal["bubblewrap", "docker"] | None = Field(default=None, description="What holds code that is run.")
    workers: int | None = Field(default=None, ge=1, description="Responses graded at once.")

    def sampling(self, of_task: Sampling, template_kwargs: Mapping[str, Any]) -> Sampling:
        """How responses are sampled: greedily, unless the table has a temperature.

        Args:
            of_task: the task's own settings, for what the table leaves open.
            template_kwargs: of the student's chat template in training.
        """
        is_greedy = self.temperature == 0
        return replace(
            of_task,
            k=self.k or (1 if is_greedy else of_task.k),
            temperature=self.temperature,
            top_p=self.top_p or (1.0 if is_greedy else of_task.top_p),
            max_tokens=self.max_tokens or of_task.max_tokens,
            seed=self.seed,
            template_kwargs={**of_task.template_kwargs, **template_kwargs},
            system=of_task.system if self.system is None else self.system,
        )


def _as_tables(value: Any) -> Any:
    """A list of names and files as tables; tables as they are."""
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        return value
    tables = dict(map(_as_table, value))
    if len(tables) < len(value):
        raise ValueError("eval_tasks has two tasks of one name: give each a table [eval_tasks.NAME] of its own.")
    return tables


def _as_table(entry: str) -> tuple[str, dict[str, str]]:
    """The table of a name of a task, of an import path or of a file."""
    if import_path.is_import_path(entry):
        return entry.rpartition(import_path.SEPARATOR)[2], {"task": entry}
    return (Path(entry).stem, {"source": entry}) if Path(entry).suffix or "/" in entry else (entry, {})


EvalTaskTables = Annotated[dict[str, EvalTaskTable] | None, BeforeValidator(_as_tables)]
