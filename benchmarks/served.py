"""Cost of a served teacher: scored tokens a second, and the share of a training step that waits for it.

OMP_NUM_THREADS=1 python -m benchmarks.served --output benchmarks/results/served_cpu.json
python -m benchmarks.served --url http://localhost:8000 --teacher FOLDER --student FOLDER

Compares the teacher in this process, the same one served with many requests at once, and served with one request at a
time. Without --url, the tests' own server serves it in another process. It computes one request after the other, so
its figures show the cost of the protocol and not of a real server. --delay-s delays each answer of that server,
however many requests are in flight: it shows how well requests overlap. Every way scores the same samples, after a
warm-up. The samples come in groups that share a prompt, as in training.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from datasets import Dataset
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill.runs.run_file import write_json
from crossdistill.signal import Signal
from crossdistill.teachers import LocalTeacher, Teacher, TeacherRequest, TeacherScore
from crossdistill.teachers.served import ServedOptions, ServedTeacher
from crossdistill.train import CrossTokenizerConfig, CrossTokenizerTrainer

ASSETS = Path(str(files("crossdistill.demo") / "assets"))
IN_PROCESS, BULK, SINGLE = "in process", "served, in bulk", "served, one at a time"
TEXT = "Add 12 and 30: first the tens, 10 + 30 = 40, then the ones, 2 + 0 = 2. The answer is 42.\n"


def samples(tokenizer: Any, num_groups: int, group: int, lengths: tuple[int, int], seed: int) -> list[TeacherRequest]:
    """Groups of samples that share a prompt: windows of a text, of at most `lengths` tokens of (prompt, response)."""
    ids = tokenizer(TEXT * (1 + sum(lengths) // 8), add_special_tokens=False)["input_ids"]
    rng = np.random.default_rng(seed)

    def window(longest: int) -> list[int]:
        size = int(rng.integers(longest // 2, longest + 1))
        start = int(rng.integers(0, len(ids) - size))
        return ids[start : start + size]

    made = []
    for _ in range(num_groups):
        prompt = window(lengths[0])
        made += [TeacherRequest(prompt, window(lengths[1]), stopped=True) for _ in range(group)]
    return made


def throughput(
    teacher: Teacher, requests: list[TeacherRequest], warm_up: list[TeacherRequest], top_k: int
) -> dict[str, Any]:
    """Seconds of one call, and tokens of prompts and responses per second."""
    signal = Signal.TOPK if top_k else Signal.SAMPLED
    teacher.score(warm_up, signal, top_k)
    began = time.perf_counter()
    scores = teacher.score(requests, signal, top_k)
    seconds = time.perf_counter() - began
    tokens = sum(len(request.prompt_ids) + len(request.response_ids) for request in requests)
    dropped = sum(not isinstance(score, TeacherScore) for score in scores)
    return {"seconds": seconds, "tokens_per_second": tokens / seconds, "dropped": dropped}


def shares(
    teacher: Teacher, student: str, steps: int, batch: int, parts: int, response_tokens: int
) -> dict[str, float]:
    """Shares of the time of training steps after the first: waiting for the teacher, and sampling."""
    with tempfile.TemporaryDirectory() as folder:
        config = CrossTokenizerConfig(
            output_dir=folder,
            max_steps=steps + 1,
            per_device_train_batch_size=batch,
            rollout_parts=parts,
            max_completion_length=response_tokens,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            bf16=torch.cuda.is_available(),
            use_cpu=not torch.cuda.is_available(),
        )
        prompts = [[{"role": "user", "content": f"Add {k} and {3 * k}."}] for k in range(64)]
        trainer = CrossTokenizerTrainer(student, teacher, config, train_dataset=Dataset.from_dict({"prompt": prompts}))
        trainer.train()
    rows = [row for row in trainer.state.log_history if "seconds/total" in row][1:]
    total = sum(row["seconds/total"] for row in rows)
    measured = {part: sum(row[f"seconds/{part}"] for row in rows) / total for part in ("teacher", "rollout")}
    return {"waiting_share": measured["teacher"], "rollout_share": measured["rollout"], "step_seconds": total / steps}


@contextmanager
def test_server(teacher: str, max_logprobs: int, delay_s: float) -> Iterator[str]:
    """Start the tests' server; yields its address."""
    options = ["--max-logprobs", str(max_logprobs), "--delay-s", str(delay_s)]
    command = [sys.executable, "-m", "tests.teacher_server", teacher, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own module
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def served(url: str, tokenizer: Any, in_flight: int) -> Iterator[ServedTeacher]:
    teacher = ServedTeacher(url, tokenizer, ServedOptions(max_in_flight=in_flight))
    try:
        yield teacher
    finally:
        teacher.close()


def local(folder: str, batch_tokens: int) -> LocalTeacher:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32 if device == "cpu" else torch.bfloat16)
    return LocalTeacher(model.to(device), AutoTokenizer.from_pretrained(folder), batch_tokens)


def show(ways: dict[str, dict[str, Any]]) -> Table:
    table = Table("way", "seconds", "tokens/s", "dropped", "waits for the teacher", "step, s")
    for way, figures in ways.items():
        row = [f"{figures['seconds']:.2f}", f"{figures['tokens_per_second']:,.0f}", f"{figures['dropped']}"]
        if "step_seconds" in figures:
            row += [f"{figures['waiting_share']:.1%}", f"{figures['step_seconds']:.2f}"]
        table.add_row(way, *row)
    return table


def main(
    url: Annotated[str, typer.Option(help="A server of that teacher; the tests' own server by default.")] = "",
    teacher: Annotated[str, typer.Option(help="Folder of the teacher's model.")] = str(ASSETS / "teacher"),
    student: Annotated[str, typer.Option(help="Folder of the student's model.")] = str(ASSETS / "student"),
    groups: Annotated[int, typer.Option(min=1, help="Number of prompts.")] = 16,
    group: Annotated[int, typer.Option(min=1, help="Samples of each prompt.")] = 4,
    prompt_tokens: Annotated[int, typer.Option(min=2, help="Tokens of the longest prompt.")] = 64,
    response_tokens: Annotated[int, typer.Option(min=2, help="Tokens of the longest response.")] = 128,
    in_flight: Annotated[int, typer.Option(min=1, help="Requests at once when served in bulk.")] = 32,
    top_k: Annotated[
        int, typer.Option(min=0, help="Most probable tokens at each position; 0 for the realised token only.")
    ] = 0,
    batch_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens that the teacher in this process reads at once.")
    ] = 8192,
    steps: Annotated[int, typer.Option(min=0, help="Training steps to measure the waiting share; 0 for none.")] = 4,
    batch: Annotated[int, typer.Option(min=1, help="Samples of a training step.")] = 16,
    parts: Annotated[int, typer.Option(min=1, help="Parts in which a step's responses are sampled.")] = 1,
    delay_s: Annotated[float, typer.Option(min=0, help="Delay of each answer of the tests' own server.")] = 0.0,
    in_process: Annotated[bool, typer.Option(help="Measure the teacher in this process too.")] = True,
    output: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
) -> None:
    """Measure a served teacher."""
    tokenizer, ways = AutoTokenizer.from_pretrained(teacher), {}
    requests = samples(tokenizer, groups, group, (prompt_tokens, response_tokens), seed=0)
    warm_up = samples(tokenizer, 2, 2, (prompt_tokens, response_tokens), seed=1)

    def measured(made: Teacher) -> dict[str, Any]:
        figures = throughput(made, requests, warm_up, top_k)
        return figures | (shares(made, student, steps, batch, parts, response_tokens) if steps else {})

    if in_process:
        ways[IN_PROCESS] = measured(local(teacher, batch_tokens))
    with _address(url, teacher, max(top_k, 20), delay_s) as address:
        for way, most in ((BULK, in_flight), (SINGLE, 1)):
            with served(address, tokenizer, most) as made:
                ways[way] = measured(made) | {"traffic": made.traffic.as_dict()}
    Console().print(show(ways))
    if output is not None:
        command = f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')} python -m benchmarks.served "
        write_json(output, {"command": command + " ".join(sys.argv[1:]), "samples": len(requests), "ways": ways})


@contextmanager
def _address(url: str, teacher: str, max_logprobs: int, delay_s: float) -> Iterator[str]:
    if url:
        yield url
    else:
        with test_server(teacher, max_logprobs, delay_s) as address:
            yield address


if __name__ == "__main__":
    typer.run(main)
