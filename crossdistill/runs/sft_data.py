"""Rows for SFT: prompts with responses that the data set holds, or that a teacher writes first."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from accelerate import PartialState

from crossdistill.chat import ensure_template, render_prompt, template_effects, template_findings
from crossdistill.chat.findings import Uses
from crossdistill.chat.messages import Prompt
from crossdistill.chat.prompts import prompt_name
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.text_tokens import check_text_tokens
from crossdistill.errors import InputError
from crossdistill.findings import FindingLog
from crossdistill.inspection.model_files import num_ids
from crossdistill.inspection.same_model import check_pair
from crossdistill.phases import detail, phase
from crossdistill.runs.config import SFTRunConfig
from crossdistill.runs.data import load_formatted
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.identity import identity
from crossdistill.runs.responses_file import ResponsesFile, Row
from crossdistill.runs.sft_rows import Reason, SFTRows
from crossdistill.teachers.base import WrittenResponse
from crossdistill.teachers.writing import left_out_findings, write_responses
from crossdistill.train.completions import NOTHING_WRITTEN
from crossdistill.train.data_format import DataFormat, as_prompts
from crossdistill.train.loading import load_model, moved
from crossdistill.train.preflight.data import check_prompts, prompts_to_render
from crossdistill.train.preflight.datasets import GivenRows
from crossdistill.train.preflight.models import check_budget, context_of
from crossdistill.train.preflight.rows import Reader, RowCheck
from crossdistill.train.preflight.tokenizers import load_tokenizer
from crossdistill.train.preflight.weights import check_weights
from crossdistill.train.resumable import ending_together

_TEACHER_OPTIONS = {"dtype": "auto", "device_map": None}


class RowSource(Protocol):
    """Where the rows come from. Creating a source loads and checks what the data set holds."""

    def check(self, student: Reader, findings: FindingLog) -> None:
        """Check everything else that can be checked without weights.

        Args:
            student: as a reader of the prompts.
            findings: takes up what does not end the run.

        Raises:
            InputError: the rows cannot be made.
        """

    def rows(self, folder: RunFolder, seed: int, findings: FindingLog) -> SFTRows:
        """The rows.

        Args:
            folder: of the run.
            seed: of sampled responses.
            findings: takes up what does not end the run.

        Raises:
            InputError: there are none to learn from.
        """

    def teacher_lengths(self, folder: RunFolder, seed: int) -> list[int]:
        """Tokens of each prompt and response that a teacher wrote, in its tokens; none if the data set holds them.

        Args:
            folder: of the run, whose responses are complete.
            seed: of sampled responses.
        """


def row_source(config: SFTRunConfig) -> RowSource:
    """The source that a configuration names."""
    if config.teacher is not None:
        return TeacherResponses(config, config.teacher)
    return GivenResponses(config, config.dataset, config.dataset_split)


def eval_source(config: SFTRunConfig) -> RowSource | None:
    """The source of the held-out rows; None if there are none."""
    if config.eval_dataset is None:
        return None
    return GivenResponses(config, config.eval_dataset, config.eval_split, config.eval_rows)


class GivenResponses:
    """Responses from a data set.

    Args:
        config: of the run; names the columns.
        source: a file, a folder or a hub id.
        split: of it.
        limit: use only this many rows.
    """

    def __init__(self, config: SFTRunConfig, source: str, split: str, limit: int | None = None):
        rows = load_formatted(source, split, config.dataset_name, config.columns)
        self._rows = SFTRows.of(rows if limit is None else rows.take(limit), f"the data set {source}")

    def check(self, student: Reader, findings: FindingLog) -> None:
        """Check that the student can read the rows."""
        check_text_tokens(student.text_tokens, {"student": student.renderer.tokenizer})
        check_rows(self._rows, RowCheck(student, log=findings))

    def rows(self, folder: RunFolder, seed: int, findings: FindingLog) -> SFTRows:
        """The rows of the data set."""
        return self._rows

    def teacher_lengths(self, folder: RunFolder, seed: int) -> list[int]:
        """None: who wrote the responses is not known."""
        return []


class TeacherResponses:
    """Responses that a teacher writes to the prompts of the data set, kept in ``responses.jsonl``."""

    def __init__(self, config: SFTRunConfig, teacher: str):
        check_pair(config.student, teacher)
        self._config, self._teacher = config, teacher
        rows = load_formatted(config.dataset, config.dataset_split, config.dataset_name, config.columns)
        self._prompts = as_prompts(rows, f"the data set {config.dataset}")
        check_prompts(self._prompts, "the data")

    def check(self, student: Reader, findings: FindingLog) -> None:
        """Check that both can read the prompts, and that the teacher has room for `max_new_tokens` after each."""
        budget, context = self._config.max_new_tokens, context_of(self._teacher)
        check_budget(context, budget, "teacher", "max_new_tokens")
        self._tokenizer = load_tokenizer(self._teacher, "teacher", log=findings)
        tokenizers = {"student": student.renderer.tokenizer, "teacher": self._tokenizer}
        check_text_tokens(student.text_tokens, tokenizers)
        teacher = reader_of(self._teacher, "teacher", self._tokenizer, context, self._config.text_tokens)
        check_prompts_of(self._prompts, RowCheck(student, {"teacher": teacher}, budget, log=findings))

    def rows(self, folder: RunFolder, seed: int, findings: FindingLog) -> SFTRows:
        """The responses that ended within `max_new_tokens`; the others stay in the file only.

        The main process claims the folder and writes what is missing, also after an interruption; the others wait.
        """
        check_weights("teacher", self._teacher, _TEACHER_OPTIONS)
        file = self._file(self._path(folder), seed)
        with ending_together(folder.path):
            if PartialState().is_main_process:
                folder.claim(identity(self._config))
                self._complete(file, seed, findings)
        responses = file.read()
        silent = [number for number, row in enumerate(responses) if not row["completion"].strip()]
        if silent:
            prompts = f"{len(responses)} prompts (the first in row {silent[0]})"
            findings.add(NOTHING_WRITTEN(count=len(silent), prompts=prompts))
        cut = [number for number, row in enumerate(responses) if not row["stopped"] and number not in set(silent)]
        return self._finished(responses, {Reason.EMPTY: silent, Reason.NOT_ENDED: cut})

    def _finished(self, responses: Sequence[Row], left_out: dict[Reason, list[int]]) -> SFTRows:
        """The responses that are not left out."""
        from datasets import Dataset

        numbers = sorted(set(range(len(responses))).difference(*left_out.values()))
        if not numbers:
            raise InputError(
                f"none of the teacher's {len(responses)} responses ended within max_new_tokens = "
                f"{self._config.max_new_tokens} and holds a text: raise it, or use a teacher that answers and ends its "
                "turns."
            )
        data = Dataset.from_list([{name: responses[row][name] for name in ("prompt", "completion")} for row in numbers])
        found = {reason: rows for reason, rows in left_out.items() if rows}
        return SFTRows(data, numbers, DataFormat.PROMPT_COMPLETION, "the teacher's responses", found)

    def teacher_lengths(self, folder: RunFolder, seed: int) -> list[int]:
        """Of all responses, those that did not end as well; a response is counted as its text is encoded."""
        rows = self._file(self._path(folder), seed).read()
        return [
            len(render_prompt(self._tokenizer, row["prompt"]))
            + len(self._tokenizer.encode(row["completion"], add_special_tokens=False))
            + row["stopped"]
            for row in rows
        ]

    def _path(self, folder: RunFolder) -> Path:
        return folder.path / "responses.jsonl"

    def _file(self, path: Path, seed: int) -> ResponsesFile:
        names = ("teacher", "temperature", "max_new_tokens", "batch_size", "text_tokens")
        settings = {name: getattr(self._config, name) for name in names}
        return ResponsesFile(path, self._prompts["prompt"], {**settings, "seed": seed})

    def _complete(self, file: ResponsesFile, seed: int, findings: FindingLog) -> None:
        """Write the responses that the file lacks, each as it comes."""
        first_row, num_prompts = len(file.read()), len(file.prompts)
        if first_row < num_prompts:
            new = file.append(self._write(file.prompts[first_row:], seed, first_row, findings), first_row)
            for number, _ in enumerate(new, first_row + 1):
                detail(f"{number:,} of {num_prompts:,}")

    def _write(self, prompts: Any, seed: int, first_row: int, findings: FindingLog) -> Iterator[WrittenResponse]:
        what = f"the teacher {self._teacher!r}"
        model = moved(load_model(what, self._teacher, _TEACHER_OPTIONS), what, PartialState().device).eval()
        phase("the teacher writes its responses")
        config = self._config
        sampling = (config.max_new_tokens, config.temperature, config.batch_size, seed, first_row)
        for response in write_responses(model, self._tokenizer, prompts, *sampling, text_tokens=config.text_tokens):
            findings.add_all(left_out_findings([response]))
            yield response


def reader_of(
    model: str, label: str, tokenizer: Any, context: int | None = None, text_tokens: Sequence[str] = ()
) -> Reader:
    """A model as a reader of the prompts; its tokenizer gets the plain chat template if it has none.

    Args:
        model: a folder or a hub id.
        label: what messages call it.
        tokenizer: the model's.
        context: tokens of prompt and response together; None if they are counted elsewhere.
        text_tokens: special tokens that are words of a response.
    """
    ensure_template(tokenizer)
    return Reader(label, PromptRenderer(tokenizer, {}, []), context, num_ids(model), tuple(text_tokens))


def check_prompts_of(rows: Any, check: RowCheck) -> None:
    """Check that the prompts can be read, and look at what the templates of their readers do.

    Raises:
        InputError: a model cannot read one.
    """
    _look_at_templates([row["prompt"] for row in check.check_all([rows])], check)


def check_rows(rows: SFTRows, check: RowCheck) -> None:
    """Check that the student can read rows with answers, and look at what its template does.

    Args:
        rows: to check.
        check: of the student alone.

    Raises:
        InputError: it cannot read one.
    """
    for number, text in rows.texts():
        check.check_text(prompt_name(number), {"prompt": text})
    if rows.data_format is DataFormat.TEXT:
        return
    numbered = list(rows.prompts())
    chosen = [at for at, _ in prompts_to_render(GivenRows([{"prompt": prompt} for _, prompt in numbered], rows.what))]
    for number, prompt in (numbered[at] for at in chosen):
        check.check_rendering(prompt_name(number), {"prompt": prompt})
    _look_at_templates([numbered[at][1] for at in chosen], check)


def _look_at_templates(prompts: Sequence[Prompt], check: RowCheck) -> None:
    uses = Uses.of(list(prompts))
    for reader in (check.student, *check.teachers.values()) if uses.messages else ():
        effects = template_effects(reader.renderer.tokenizer, reader.renderer.template_kwargs)
        check.log.add_all(template_findings(effects, reader.label, uses))
