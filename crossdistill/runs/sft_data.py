"""Rows for SFT: prompts with responses that the data set holds, or that a teacher writes first."""

import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from accelerate import PartialState
from rich.progress import track

from crossdistill.chat import ensure_template
from crossdistill.chat.prompts import prompt_name
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.errors import InputError
from crossdistill.inspection.model_files import check_pair, num_ids
from crossdistill.runs.config import SFTRunConfig
from crossdistill.runs.data import load_rows
from crossdistill.runs.folder import RunFolder
from crossdistill.teachers.writing import write_responses
from crossdistill.train.loading import load_model, moved
from crossdistill.train.preflight.data import check_prompts, rows_to_render, spelled_rows
from crossdistill.train.preflight.models import check_budget, context_of
from crossdistill.train.preflight.rows import Reader, RowCheck
from crossdistill.train.preflight.tokenizers import load_tokenizer
from crossdistill.train.preflight.weights import check_weights

_TEACHER_OPTIONS = {"dtype": "auto", "device_map": None}


class RowSource(Protocol):
    """Where the rows come from. Creating a source loads and checks what the data set holds."""

    def check(self, student: Reader) -> None:
        """Check everything else that can be checked without weights.

        Args:
            student: as a reader of the prompts.

        Raises:
            InputError: the rows cannot be made.
        """

    def rows(self, folder: RunFolder, seed: int) -> Any:
        """The rows, a ``datasets.Dataset`` with ``prompt`` and ``completion``.

        Args:
            folder: of the run.
            seed: of sampled responses.

        Raises:
            InputError: there are none to learn from.
        """


def row_source(config: SFTRunConfig) -> RowSource:
    """The source that a configuration names."""
    return GivenResponses(config) if config.teacher is None else TeacherResponses(config, config.teacher)


class GivenResponses:
    """Responses from the data set."""

    def __init__(self, config: SFTRunConfig):
        self._rows = _load(config, {"prompt": config.prompt_column, "completion": config.completion_column})
        for row, completion in enumerate(self._rows["completion"]):
            if not isinstance(completion, str):
                raise InputError(f"the completion of row {row} is {completion!r}: it must be a text (quote numbers).")

    def check(self, student: Reader) -> None:
        """Check that the student can read the prompts."""
        check_prompts_of(self._rows, RowCheck(student))

    def rows(self, folder: RunFolder, seed: int) -> Any:
        """The rows of the data set."""
        return self._rows


class TeacherResponses:
    """Responses that a teacher writes to the prompts of the data set, kept in ``responses.jsonl``."""

    def __init__(self, config: SFTRunConfig, teacher: str):
        check_pair(config.student, teacher)
        self._config, self._teacher = config, teacher
        self._prompts = _load(config, {"prompt": config.prompt_column})

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self._teacher, "teacher")

    def check(self, student: Reader) -> None:
        """Check that both can read the prompts, and that the teacher has room for `max_new_tokens` after each."""
        budget, context = self._config.max_new_tokens, context_of(self._teacher)
        check_budget(context, budget, "teacher", "max_new_tokens")
        teacher = reader_of(self._teacher, "teacher", self._tokenizer, context)
        check_prompts_of(self._prompts, RowCheck(student, {"teacher": teacher}, budget))

    def rows(self, folder: RunFolder, seed: int) -> Any:
        """The responses that ended within `max_new_tokens`; the others stay in the file only.

        The main process claims the folder and writes what is missing, also after an interruption; the others wait.
        """
        from datasets import Dataset

        check_weights("teacher", self._teacher, _TEACHER_OPTIONS)
        processes = PartialState()
        with processes.main_process_first():
            if processes.is_main_process:
                folder.claim(self._config.model_dump(mode="json"))
            responses = self._complete(folder.path / "responses.jsonl", seed)
        finished = [row for row in responses if row["stopped"]]
        if not finished:
            raise InputError(
                f"none of the teacher's {len(responses)} responses ended within max_new_tokens = "
                f"{self._config.max_new_tokens}: raise it, or use a teacher that ends its turns."
            )
        return Dataset.from_list([{"prompt": row["prompt"], "completion": row["completion"]} for row in finished])

    def _complete(self, path: Path, seed: int) -> list[dict[str, Any]]:
        """All responses: those in the file, then the missing ones, appended to it as they come."""
        responses = saved_responses(path)
        remaining = self._prompts["prompt"][len(responses) :]
        if not len(remaining):
            return responses
        new = self._write(remaining, seed, first_row=len(responses))
        with path.open("a") as file:
            for row in track(new, "teacher's responses", len(remaining)):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                responses.append(row)
        return responses

    def _write(self, prompts: Any, seed: int, first_row: int) -> Iterator[dict[str, Any]]:
        what = f"the teacher {self._teacher!r}"
        model = moved(load_model(what, self._teacher, _TEACHER_OPTIONS), what, PartialState().device).eval()
        config = self._config
        sampling = (config.max_new_tokens, config.temperature, config.batch_size, seed, first_row)
        responses = write_responses(model, self._tokenizer, prompts, *sampling)
        return (
            {"prompt": prompt, "completion": response.text, "stopped": response.stopped}
            for prompt, response in zip(prompts, responses, strict=True)
        )


def reader_of(model: str, label: str, tokenizer: Any, context: int | None = None) -> Reader:
    """A model as a reader of the prompts; its tokenizer gets the plain chat template if it has none.

    Args:
        model: a folder or a hub id.
        label: what messages call it.
        tokenizer: the model's.
        context: tokens of prompt and response together; None if they are counted elsewhere.
    """
    ensure_template(tokenizer)
    return Reader(label, PromptRenderer(tokenizer, {}, []), context, num_ids(model))


def check_prompts_of(rows: Any, check: RowCheck) -> None:
    """Check what every prompt spells, and render the ones that show whether all can be rendered.

    Raises:
        InputError: a model cannot read one.
    """
    for number, spelled in spelled_rows([rows]):
        check.check_text(prompt_name(number), spelled)
    for number, row in rows_to_render([rows]):
        check.check_rendering(prompt_name(number), row)


def saved_responses(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a responses file; an incomplete last line (after a kill) is cut off the file."""
    if not path.exists():
        return []
    data = path.read_bytes()
    complete = data[: data.rfind(b"\n") + 1]
    if len(complete) < len(data):
        os.truncate(path, len(complete))  # not written anew, which a full disk would end in the middle
    lines = complete.split(b"\n")[:-1]  # str.splitlines would also cut at U+2028 and the like
    return [json.loads(line) for line in lines]


def _load(config: SFTRunConfig, columns: dict[str, str]) -> Any:
    rows = load_rows(config.dataset, config.dataset_split, config.dataset_name, columns)
    check_prompts(rows, "the data")
    return rows
