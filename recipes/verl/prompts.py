"""The prompts of *Breaking the Tokenizer Barrier* (section 5.1): 20,000 of OpenThoughts and 20,000 of DeepMath.

    python recipes/verl/prompts.py --student meta-llama/Llama-3.1-8B --output data/prompts.jsonl

Rows have ``prompt`` (messages), ``source`` and, for DeepMath, ``answer``. OpenThoughts3 asks each question several
times: equal questions count once. A question whose prompt is longer than the paper's 1,024 tokens is left out. The draw
is seeded: the same arguments and data sets give the same file.
"""

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdistill.chat import ensure_template
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.errors import InputError
from crossdistill.inspection.model_files import read_tokenizer
from crossdistill.runs.data import load_rows

OPEN_THOUGHTS = "open-thoughts/OpenThoughts3-1.2M"
DEEP_MATH = "zwhe99/DeepMath-103K"
Question = tuple[str, str | None]
"""The user's text, and the answer if it is known."""


def of_open_thoughts(row: Mapping[str, Any]) -> Question:
    """The first turn of the user in ``conversations``, a list of ``from`` and ``value``."""
    first = next(turn for turn in row["conversations"] if turn["from"] in ("human", "user"))
    return first["value"].strip(), None


def of_deep_math(row: Mapping[str, Any]) -> Question:
    """Columns ``question`` and ``final_answer``."""
    return row["question"].strip(), str(row["final_answer"])


def drawn(
    rows: Iterable[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], Question], seed: int
) -> list[Question]:
    """All distinct questions, in a random order that the seed determines."""
    questions = dict(map(read, rows))
    order = sorted(questions)  # whatever the order of the data set's files
    random.Random(seed).shuffle(order)
    return [(text, questions[text]) for text in order]


def chosen(
    questions: Iterable[Question], fits: Callable[[str], bool], num: int, source: str
) -> Iterator[dict[str, Any]]:
    """The first `num` questions that fit, as rows.

    Raises:
        InputError: there are fewer.
    """
    left = num
    for text, answer in questions:
        if left and fits(text):
            left -= 1
            row = {"prompt": message(text), "source": source}
            yield row if answer is None else {**row, "answer": answer}
    if left:
        raise InputError(f"{source} has {num - left} questions that fit, not {num}: lower --num.")


def message(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def main(
    student: Annotated[str, typer.Option(help="Student, whose tokens are counted: a folder or a hub id.")],
    output: Annotated[Path, typer.Option(help="File to write.")] = Path("prompts.jsonl"),
    num: Annotated[int, typer.Option(help="Prompts of each data set.")] = 20_000,
    longest: Annotated[int, typer.Option(help="Tokens of a prompt, in the student's template.")] = 1024,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    open_thoughts: Annotated[str, typer.Option(help="A hub id, or a file of the same form.")] = OPEN_THOUGHTS,
    deep_math: Annotated[str, typer.Option(help="A hub id, or a file of the same form.")] = DEEP_MATH,
) -> None:
    tokenizer = read_tokenizer(student)
    ensure_template(tokenizer)
    render = PromptRenderer(tokenizer, {}, []).render
    rows: list[dict[str, Any]] = []
    for name, read in ((open_thoughts, of_open_thoughts), (deep_math, of_deep_math)):
        questions = drawn(load_rows(name), read, seed)
        rows += chosen(questions, lambda text: len(render(message(text))) <= longest, num, name)
    random.Random(seed).shuffle(rows)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    typer.echo(f"{len(rows)} prompts are in {output}")


if __name__ == "__main__":
    typer.run(main)
