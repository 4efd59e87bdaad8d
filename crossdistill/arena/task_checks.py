"""What is checked of a task: its problems, prompts and texts, and that none of them is in two places."""

from typing import Any

from crossdistill.arena.forgetting import unrelated_lines
from crossdistill.arena.outcome import MOST_SAMPLES
from crossdistill.arena.tables import TaskTable
from crossdistill.chat.prompts import as_prompt, prompt_name
from crossdistill.errors import InputError
from crossdistill.runs.data import load_rows
from crossdistill.runs.held_out import HeldOut, prompt_text, read_tasks


def check_task(name: str, table: TaskTable) -> None:
    """Check a task.

    Args:
        name: of the task in the file.
        table: of the task.

    Raises:
        InputError: problems, prompts or texts that cannot be read, or problems that are trained on.
    """
    if table.unrelated is not None:
        try:
            unrelated_lines(table.unrelated)
        except InputError as error:
            raise InputError(f"[tasks.{name}] unrelated: {error}") from None
    seen = {"the training prompts": _texts(load_rows(table.prompts, columns={"prompt": "prompt"}))}
    if table.examples is not None:
        rows = load_rows(table.examples, columns={"prompt": "prompt", "completion": "completion"})
        seen["the worked examples"] = _texts(rows)
    validation, test = ({prompt_text(one.prompt) for one in held.problems} for held in _problems(name, table))
    overlaps = {"validation and test": validation & test}
    for what, texts in seen.items():
        overlaps |= {f"{what} and validation": texts & validation, f"{what} and test": texts & test}
    for what, common in overlaps.items():
        if common:
            raise InputError(
                f"[tasks.{name}] {what} have {len(common)} problems in common, such as {min(common)[:60]!r}: take them "
                "out of one, or what is learnt by heart passes for skill."
            )


def _problems(name: str, table: TaskTable) -> list[HeldOut]:
    tables = {"validation": table.validation, "test": table.test}
    for key, problems in tables.items():
        if problems.task is None and problems.source is None:
            raise InputError(f"[tasks.{name}.{key}] names no problems: set task or source.")
    splits = read_tasks(tables, {}, above=f"tasks.{name}")
    for held in splits:
        if held.sampling.k > MOST_SAMPLES:
            raise InputError(
                f"[tasks.{name}.{held.task.name}] asks for {held.sampling.k} samples of each problem: at most "
                f"{MOST_SAMPLES} are recorded; set k, and take more problems or seeds instead."
            )
    return splits


def _texts(rows: Any) -> set[str]:
    return {prompt_text(as_prompt(prompt, prompt_name(number))) for number, prompt in enumerate(rows["prompt"])}
