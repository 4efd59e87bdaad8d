"""Memory of one response of up to 16,384 tokens: a whole step, its parts, and the pass of each objective.

Called by :mod:`benchmarks.long_responses`. Student and teacher are small models of random weights with the demo's
tokenizers; the text is English. Lengths are those of the student's tokens. Each part has a process of its own.
"""

import gc
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from benchmarks.alignment import texts
from benchmarks.dense.case import World
from benchmarks.dense.cell import Setting, Size
from benchmarks.dense.measure import step_of
from benchmarks.dense.memory import peak_of
from crossdistill.credit import assign_credit
from crossdistill.distill import Distiller
from crossdistill.objectives import available, get
from crossdistill.paired import PairedTokenization
from crossdistill.signal import Signal
from crossdistill.teachers.local import LocalTeacher

LENGTHS = (4096, 8192, 16384)
WARM_UP = 64
ASSETS = files("crossdistill.demo") / "assets"
PROMPT = "Say it."
VOCAB, HIDDEN = 4096, 128
STEPS = ("dpca",)
"""Objectives of which a whole step is measured."""
LEFT_OUT = ("gvpo", "gkd")
"""The one compares several responses, the other needs one vocabulary."""
Run = Callable[[], object]


def model(tokenizer: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=2 * max(LENGTHS), **sizes))


def distiller(objective: str) -> Distiller:
    """A student in training, with activation checkpointing, under a teacher of the same size."""
    tokenizers = [AutoTokenizer.from_pretrained(ASSETS / name) for name in ("student", "teacher")]
    student, teacher = map(model, tokenizers)
    student.train()
    student.activation_checkpointing_enable()
    return Distiller(tokenizers[0], LocalTeacher(teacher, tokenizers[1]), objective, student=student)


def response(known: Distiller, length: int) -> list[int]:
    """English text of so many tokens, and the end."""
    ids = known.vocab.encode(texts(16 * length)["English"][: 8 * length]).ids[: length - 1].tolist()
    return [*ids, known.stop_ids[0]]


def step(objective: str, length: int) -> Run:
    """Score and learn, as a loop of one's own does; sampling is not part of it."""
    known = distiller(objective)
    ids = response(known, length)

    def run() -> None:
        loss, _ = known.step([PROMPT], lambda _: [ids])
        loss.backward()

    return run


def loss(objective: str, length: int) -> Run:
    """The objective's pass alone, from random states of both models to the gradient of the student's."""
    size = Size(length, VOCAB, HIDDEN, VOCAB, HIDDEN)
    world = World(size, Setting("cpu", "float32", True, length, 0, 1, 0.0))
    return step_of(objective, world)(world.case(length))


def alignment(_: str, length: int) -> Run:
    known = distiller("dpca")
    ids = response(known, length)[:-1]
    return lambda: PairedTokenization.of_batch(known.vocab, [ids], next(iter(known.pairs.values())).teacher)


def credit(_: str, length: int) -> Run:
    known = distiller("dpca")
    paired = PairedTokenization.of_batch(known.vocab, [response(known, length)[:-1]], known.pairs["teacher"].teacher)
    aligned = paired[0].alignment
    sides = [torch.full((int(splits[-1]),), -1.0) for splits in (aligned.student_splits, aligned.teacher_splits)]
    return lambda: assign_credit(*sides, aligned)


PARTS: dict[str, Callable[[str, int], Run]] = {"alignment": alignment, "credit": credit, "loss": loss, "step": step}


def objectives_of(part: str) -> list[str]:
    """Those of which a part is measured."""
    losses = [name for name in available() if get(name).signal in (Signal.SAMPLED, Signal.DENSE)]
    return {"step": list(STEPS), "loss": [name for name in losses if name not in LEFT_OUT]}.get(part, [""])


def measured(part: str) -> list[dict[str, Any]]:
    """Extra bytes at the peak and seconds of the processor at each length, in this process."""
    torch.set_num_threads(1)
    return [_measured(part, objective) for objective in objectives_of(part)]


def _measured(part: str, objective: str) -> dict[str, Any]:
    PARTS[part](objective, WARM_UP)()  # what libraries take at their first call is not counted
    rows = []
    for length in LENGTHS:
        run = PARTS[part](objective, length)
        gc.collect()
        with peak_of("cpu") as peak:
            start = time.process_time()
            run()
            seconds = time.process_time() - start
        rows.append({"tokens": length, "extra_bytes": peak.extra_bytes, "processor_seconds": round(seconds, 3)})
    found = {"part": part, "objective": objective, "rows": rows, **line_of(rows)}
    print({key: value for key, value in found.items() if key != "rows"}, flush=True)
    return found


def line_of(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The line through the peaks: bytes a token, and the largest distance from it as a share of the largest peak."""
    tokens, peaks = (np.array([row[key] for row in rows], dtype=np.float64) for key in ("tokens", "extra_bytes"))
    slope, start = np.polyfit(tokens, peaks, 1)
    off = np.abs(peaks - (start + slope * tokens)).max() / max(1.0, peaks.max())
    return {"bytes_a_token": round(float(slope), 1), "off_the_line": round(float(off), 4)}
