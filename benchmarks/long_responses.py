"""Peak memory of passes over two responses of different length: padded together, and in micro-batches.

``python -m benchmarks.long_responses --output FILE`` measures the student's scoring pass, the local teacher's pass and
the pass that trains, with a small model of random weights. Each figure is that of a process of its own. Then a response
of up to 16,384 tokens (:mod:`benchmarks.long_step`): ``--only long`` measures this alone, and keeps the others' rows.
"""

import argparse
import multiprocessing
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from benchmarks import long_step
from benchmarks.dense.memory import peak_of
from benchmarks.inputs import check_file, check_same
from crossdistill.distill.rollout import Rollout
from crossdistill.distill.student import (
    StudentInputs,
    collate,
    logprobs_with_stop_mass,
    student_logprobs,
    supervised_states,
)
from crossdistill.errors import InputError
from crossdistill.ops import micro_batches, micro_batching, token_logprobs
from crossdistill.runs.run_file import read_record, write_json
from crossdistill.teachers import TeacherRequest
from crossdistill.teachers.local import LocalTeacher

LENGTHS = (2048, 4096, 8192)
PROMPT = 16
MIB = 1024 * 1024
Row = dict[str, Any]
TEACHER = files("crossdistill.demo") / "assets" / "teacher"


def model(vocab_size: int) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocab_size, max_position_embeddings=2 * max(LENGTHS), **sizes))


def rollout(length: int) -> Rollout:
    """Two responses, of which the second is a quarter shorter."""
    prompts = [[1] * PROMPT] * 2
    completions = [[2] * (tokens - PROMPT) for tokens in (length, length * 3 // 4)]
    return Rollout.of(["", ""], prompts, completions)


def batches(lengths: Sequence[int], in_micro_batches: bool) -> list[list[int]]:
    return micro_batches(lengths) if in_micro_batches else [list(range(len(lengths)))]


def scoring(length: int, in_micro_batches: bool) -> Callable[[], Any]:
    """The student's log-probabilities of its samples."""
    student, sampled = model(512).eval(), rollout(length)
    inputs = collate(sampled.prompt_ids, sampled.completion_ids, 0)

    def forward(part: StudentInputs, stop_mask: torch.Tensor) -> Any:
        return logprobs_with_stop_mass(student, part, stop_mask, [3], temperature=1.0)

    return lambda: student_logprobs(sampled, inputs, [None, None], batches(sampled.lengths, in_micro_batches), forward)


def teaching(length: int, in_micro_batches: bool) -> Callable[[], Any]:
    """The local teacher's log-probabilities of the same; before, rows of any length were padded within its budget."""
    tokenizer = AutoTokenizer.from_pretrained(TEACHER)
    teacher, sampled = LocalTeacher(model(len(tokenizer)), tokenizer), rollout(length)
    if not in_micro_batches:
        micro_batching.LONGEST_PADDED = 2 * max(LENGTHS)
    pairs = zip(sampled.prompt_ids, sampled.completion_ids, strict=True)
    requests = [TeacherRequest(prompt, response, stopped=True) for prompt, response in pairs]
    return lambda: teacher.score(requests)


def training(length: int, in_micro_batches: bool) -> Callable[[], Any]:
    """Forward and backward, with activation checkpointing as in a run."""
    student, sampled = model(512).train(), rollout(length)
    student.activation_checkpointing_enable()
    inputs: Any = collate(sampled.prompt_ids, sampled.completion_ids, 0)

    def step() -> None:
        for rows in batches(sampled.lengths, in_micro_batches):
            part: Any = {name: value[rows] for name, value in inputs.items()}
            mask = part["completion_mask"]
            states = supervised_states(student, part, mask)
            token_logprobs(*states, part["completion_ids"][mask]).logprobs.sum().backward()

    return step


PASSES = {"scoring": scoring, "teacher": teaching, "training": training}


def peak_bytes(name: str, length: int, in_micro_batches: bool) -> int:
    torch.set_num_threads(1)
    PASSES[name](64, in_micro_batches)()  # what libraries take at their first call is not counted
    run = PASSES[name](length, in_micro_batches)
    with peak_of("cpu") as peak:
        run()
    return peak.extra_bytes


def measured() -> list[dict[str, Any]]:
    """A row for each pass and length: extra bytes at the peak, together and in micro-batches."""
    rows = []
    for name in PASSES:
        for length in LENGTHS:
            found = {}
            for key, in_micro_batches in (("together", False), ("micro_batches", True)):
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    found[key] = pool.apply(peak_bytes, (name, length, in_micro_batches))
            rows.append({"pass": name, "tokens": length, **found})
            print(f"{name:9} {length:6} " + " ".join(f"{key} {value / MIB:7.0f} MiB" for key, value in found.items()))
    return rows


def with_part(rows: Sequence[Row], part: str, found: Sequence[Row]) -> list[Row]:
    """The rows of all parts, with new ones of one: those of a part stay until it has been measured again.

    Example:
        >>> with_part([{"part": "credit"}, {"part": "step", "at": 1}], "step", [{"part": "step", "at": 2}])
        [{'part': 'credit'}, {'part': 'step', 'at': 2}]
    """
    order = list(long_step.PARTS)
    kept = [row for row in rows if row["part"] != part]
    return sorted([*kept, *found], key=lambda row: order.index(row["part"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", choices=("padded", "long"))
    arguments = parser.parse_args()
    output, now = arguments.output, {"torch": torch.__version__}
    try:
        check_file("--output", output)
        known = read_record(output) if output.exists() else {}
        if known and arguments.only is not None:
            check_same(output, {"torch": known.get("torch")}, now)
    except InputError as error:
        parser.error(str(error))
    known = {"rows": [], "long": []} | known | now
    if arguments.only != "long":
        known["rows"] = measured()
        write_json(output, known)
    for part in long_step.PARTS if arguments.only != "padded" else ():
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            known["long"] = with_part(known["long"], part, pool.apply(long_step.measured, (part,)))
        write_json(output, known)


if __name__ == "__main__":
    main()
