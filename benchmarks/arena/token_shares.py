"""How many of a student's tokens are the teacher's too, in right responses of arena B's task and of the demo's.

python -m benchmarks.arena.token_shares models/smollm2-135m-instruct models/gemma-3-270m
"""

import sys
from collections.abc import Iterator

from transformers import AutoTokenizer

from benchmarks.arena.data import TASKS
from benchmarks.arena.pairs import measured
from benchmarks.arena.rare_words import answer_of, draw
from benchmarks.arena.split_task import SEEDS
from crossdistill import ByteVocab
from crossdistill.inspection.documents import Document

NUM_RESPONSES = 200


def responses() -> Iterator[tuple[str, list[str]]]:
    """Name of a task -> right responses."""
    sums = TASKS["sums"].draw("validation", NUM_RESPONSES, SEEDS["validation"])
    yield "sums in number words (the demo's)", [problem.solution for problem in sums]
    for number in (3, 4):
        yield f"{number} rare words, sorted", [answer_of(words) for words in draw("validation", NUM_RESPONSES, number)]


def main(student: str, teacher: str) -> None:
    ours, theirs = (ByteVocab.from_tokenizer(AutoTokenizer.from_pretrained(name)) for name in (student, teacher))
    print("| task | 1:1 tokens | in chunks of several teacher tokens | tokens of a response |\n|---|---:|---:|---:|")
    for task, texts in responses():
        found = measured(ours, theirs, [Document(task, "", text.encode()) for text in texts])
        shares = f"{found.one_to_one_share:.0%} | {found.spanning_share:.0%}"
        print(f"| {task} | {shares} | {found.student_tokens / len(texts):.1f} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
