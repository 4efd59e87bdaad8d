"""The data of the recipe: examples for SFT, prompts for distillation, given responses for the static baselines.

OpenThoughts3 asks each question several times. Some of its questions are set aside as prompts, one response to each of
these is kept as given, and the examples for SFT are drawn from the other questions. What is drawn depends on the texts
and the seed alone, not on the order of rows or files: everything is taken in the order of its hash.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from crossdistill import ByteVocab
from crossdistill.chat import ensure_template
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.errors import InputError
from crossdistill.eval.task import TaskOptions
from crossdistill.eval.tasks import get
from crossdistill.inspection.model_files import read_tokenizer, vocab_size
from crossdistill.runs.data import load_rows
from crossdistill.runs.held_out import prompt_text
from crossdistill.runs.run_file import read_record, write_json
from crossdistill.runs.sft_examples import ExampleMaker
from recipes.paper.overlap import Overlap

COUNTS = "data.json"
Row = dict[str, Any]


@dataclass(frozen=True)
class Draw:
    """What is drawn, for one student.

    Attributes:
        student: whose tokens are counted: a folder or a hub id.
        open_thoughts, deep_math: hub ids, folders or files of the same form.
        num_sft: examples for SFT; 0 if there is none.
        num_prompts: prompts of each data set.
        longest_prompt: tokens of a prompt.
        longest_example: tokens of prompt and response.
        seed: of the draw.
        tasks: whose problems are left out.
        sources: task -> where its problems are, if not where the task has them.
    """

    student: str
    open_thoughts: str
    deep_math: str
    num_sft: int
    num_prompts: int
    longest_prompt: int
    longest_example: int
    seed: int
    tasks: tuple[str, ...]
    sources: Mapping[str, str]


def prepare(draw: Draw, folder: Path) -> dict[str, Any]:
    """Write ``sft.jsonl``, ``given.jsonl``, ``prompts.jsonl``, and what was counted to ``data.json``.

    Args:
        draw: what is drawn. A folder with the same draw is left as it is.
        folder: to write.

    Returns:
        The content of ``data.json``.

    Raises:
        InputError: a data set cannot be read or has too little, or the folder holds another draw.
    """
    settings = json.loads(json.dumps(asdict(draw)))
    if (folder / COUNTS).exists():
        found = read_record(folder / COUNTS)
        if found["draw"] != settings:
            raise InputError(f"{folder} holds data of another draw: name another output, or delete it.")
        return found
    drawing = _Drawing(draw)
    prompts, given = drawing.prompts()
    folder.mkdir(parents=True, exist_ok=True)
    rows = {
        name: _write(folder / f"{name}.jsonl", made)
        for name, made in (("prompts", prompts), ("given", given), ("sft", drawing.examples()))
    }
    counts = {"draw": settings, "rows": rows, **drawing.counts}
    write_json(folder / COUNTS, counts)
    return counts


def _write(path: Path, rows: Iterable[Row]) -> int:
    """Write rows as they come, under a temporary name; returns their number."""
    temporary, count = path.with_suffix(".part"), 0
    with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    temporary.replace(path)
    return count


def of_open_thoughts(row: Mapping[str, Any]) -> tuple[str, str]:
    """Question and response: the first turn of each side in ``conversations``, a list of ``from`` and ``value``."""
    turns = [(turn["from"], turn["value"].strip()) for turn in row["conversations"]]
    question = next((text for who, text in turns if who in ("human", "user")), "")
    return question, next((text for who, text in turns if who in ("gpt", "assistant")), "")


def of_deep_math(row: Mapping[str, Any]) -> tuple[str, str]:
    """Columns ``question`` and ``final_answer``."""
    return row["question"].strip(), str(row["final_answer"])


class _Drawing:
    """One draw, as it is made."""

    def __init__(self, draw: Draw):
        self._draw = draw
        self._measure = _Measure(draw.student)
        self._overlap = Overlap(dict(_problems(draw)))
        self.counts: dict[str, Any] = {"questions": {}, "left_out": {}}
        self._thoughts = load_rows(draw.open_thoughts)
        # question -> its rows, equal responses once
        self._rows: dict[str, dict[bytes, int]] = {}
        for number, row in enumerate(self._thoughts):
            question, response = of_open_thoughts(row)
            if question and response:
                self._rows.setdefault(question, {}).setdefault(self._key(question, response), number)
        self._set_aside: set[str] = set()

    def prompts(self) -> tuple[list[Row], list[Row]]:
        """The prompts of both data sets, in random order, and one given response to those of OpenThoughts."""
        draw = self._draw
        given: list[Row] = []

        def take(question: str) -> Row | None:
            """A prompt, if there is a response to it that fits."""
            response = next((one for one in self._responses(question) if self._fits(question, one)), None)
            if response is None:
                return None
            given.append({"prompt": message(question), "completion": response})
            return {"prompt": message(question), "source": "OpenThoughts"}

        thoughts = self._taken("OpenThoughts", draw.open_thoughts, self._rows, take)
        self._set_aside = {row["prompt"][0]["content"] for row in thoughts}
        answers = dict(map(of_deep_math, load_rows(draw.deep_math)))
        new = [question for question in answers if question not in self._rows]
        deep = self._taken(
            "DeepMath",
            draw.deep_math,
            new,
            lambda question: {"prompt": message(question), "source": "DeepMath", "answer": answers[question]},
        )
        return sorted([*thoughts, *deep], key=lambda row: self._key(row["prompt"][0]["content"])), given

    def examples(self) -> Iterator[Row]:
        """The examples for SFT, of questions that are no prompts; they are too long to be held together."""
        pairs = sorted(
            (key, question, number)
            for question, numbers in self._rows.items()
            if question not in self._set_aside
            for key, number in numbers.items()
        )
        overlaps: dict[str, str | None] = {}
        left_out: Counter[str] = Counter()
        found = 0
        for _, question, number in pairs:
            if found == self._draw.num_sft:
                break
            if question not in overlaps:
                overlaps[question] = self._overlap.task_of(question)
            response = of_open_thoughts(self._thoughts[number])[1]
            if (task := overlaps[question]) is not None:
                left_out[task] += 1
            elif not self._fits(question, response):
                left_out["too long"] += 1
            else:
                found += 1
                yield {"prompt": message(question), "completion": response}
        self.counts["left_out"]["SFT"] = dict(left_out)
        if found < self._draw.num_sft:
            raise InputError(
                f"{self._draw.open_thoughts} has {found} examples that fit, beside the prompts, and not "
                f"{self._draw.num_sft}: lower sizes.sft_examples."
            )
        return found

    def _taken(self, name: str, source: str, questions: Iterable[str], take: Callable[[str], Row | None]) -> list[Row]:
        """The first questions, in random order, that are no problems of the evaluation and fit."""
        ordered = sorted(set(questions), key=self._key)
        left_out: Counter[str] = Counter()
        found: list[Row] = []
        for question in ordered:
            if len(found) == self._draw.num_prompts:
                break
            if (task := self._overlap.task_of(question)) is not None:
                left_out[task] += 1
            elif self._measure.prompt(question) > self._draw.longest_prompt or (row := take(question)) is None:
                left_out["too long"] += 1
            else:
                found.append(row)
        self.counts["questions"][name] = len(ordered)
        self.counts["left_out"][name] = dict(left_out)
        if len(found) < self._draw.num_prompts:
            raise InputError(
                f"{source} has {len(found)} questions that fit, and not {self._draw.num_prompts}: lower sizes.prompts."
            )
        return found

    def _responses(self, question: str) -> Iterator[str]:
        numbers = self._rows[question]
        return (of_open_thoughts(self._thoughts[numbers[key]])[1] for key in sorted(numbers))

    def _fits(self, question: str, response: str) -> bool:
        return self._measure.example(question, response) <= self._draw.longest_example

    def _key(self, *texts: str) -> bytes:
        return sha256("\0".join((str(self._draw.seed), *texts)).encode("utf-8", "backslashreplace")).digest()


class _Measure:
    """Lengths in a student's tokens, as its training counts them."""

    def __init__(self, student: str):
        self._tokenizer = read_tokenizer(student)
        ensure_template(self._tokenizer)
        self._render = PromptRenderer(self._tokenizer, {}, []).render
        self._maker = ExampleMaker(self._tokenizer, ByteVocab.from_tokenizer(self._tokenizer, vocab_size(student)))

    def prompt(self, question: str) -> int:
        return len(self._render(message(question)))

    def example(self, question: str, response: str) -> int:
        return len(self._maker.of_completion(message(question), response)["input_ids"])


def message(text: str) -> list[dict[str, str]]:
    """A question as a conversation."""
    return [{"role": "user", "content": text}]


def _problems(draw: Draw) -> Iterator[tuple[str, list[str]]]:
    for spec in draw.tasks:
        task = get(spec)
        options = TaskOptions(source=draw.sources.get(spec), instruction="")  # which many prompts have as well
        yield task.name, [prompt_text(problem.prompt) for problem in task.problems(options)]
