"""What a training loop does with sampled ids, on the toy models."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossdistill.chat import ensure_template, stop_ids
from crossdistill.distill import Distiller, ScoredResponse
from crossdistill.objectives import Objective
from crossdistill.objectives.dpca import DPCA
from crossdistill.teachers import LocalTeacher
from tests.seam import toy_models
from tests.seam.source import Outcome, Source

ASCII = ("a", "b")
UNBOUNDED = DPCA(max_advantage=1e6)
PROMPTS = [
    [{"role": "user", "content": "?"}],
    [{"role": "user", "content": "a longer question, so that rows are padded"}],
]


@dataclass
class Run:
    """The pipeline on some outcomes."""

    outcomes: list[Outcome]
    scored: list[ScoredResponse]

    def gaps(self) -> list[list[tuple[float, float]]]:
        """(log p, log q) of each chunk of each outcome as the pipeline has them, the stop unit last."""
        rows = []
        for item in self.scored:
            student = item.student_logprobs[item.response.text_positions].astype(np.float64)
            teacher, chunks = item.teacher.logprobs.astype(np.float64), item.alignment
            row = [
                (
                    student[chunks.student_splits[c] : chunks.student_splits[c + 1]].sum(),
                    teacher[chunks.teacher_splits[c] : chunks.teacher_splits[c + 1]].sum(),
                )
                for c in range(chunks.num_chunks)
            ]
            rows.append(row)
        return rows

    def chunk_advantages(self) -> list[list[float]]:
        """The sum of the advantages in each chunk, the stop unit last."""
        rows = []
        for item in self.scored:
            text = item.advantages[item.response.text_positions].astype(np.float64)
            row = [text[a:b].sum() for a, b in itertools.pairwise(item.alignment.student_splits)]
            stop = item.response.stop_position
            rows.append(row + ([] if stop is None else [float(item.advantages[stop])]))
        return rows


def run(
    sampled: Sequence[Outcome],
    student_source: Source,
    teacher_source: Source,
    *,
    alphabet: tuple[str, str] = ASCII,
    family: str = toy_models.BYTE_LEVEL,
    objective: Objective = UNBOUNDED,
    prepare: Callable[[Distiller], Any] = lambda distiller: None,
    stop_unit: bool = True,
    reference_source: Source | None = None,
) -> Run:
    """What a training loop does with sampled ids, with a student that sampled exactly `sampled`."""
    model, tokenizer = toy_models.student(student_source, alphabet)
    ensure_template(tokenizer)
    letters = dict(zip("ab", alphabet, strict=True))
    stops = stop_ids(tokenizer, model.generation_config.eos_token_id)
    completions = []
    for k, outcome in enumerate(sampled):
        ids = tokenizer("".join(letters[char] for char in outcome.text)).input_ids
        completions.append([*ids, stops[k % len(stops)]] if outcome.stopped else ids)
    prompts = [PROMPTS[k % len(PROMPTS)] for k in range(len(sampled))]
    sources = {"teacher": teacher_source} | ({} if reference_source is None else {"reference": reference_source})
    teachers = {
        name: LocalTeacher(*toy_models.teacher(one, alphabet, family), batch_tokens=4096)
        for name, one in sources.items()
    }
    distiller = Distiller(tokenizer, teachers, objective, student=model, stop_unit=stop_unit)
    prepare(distiller)
    return Run(list(sampled), distiller.score(prompts, completions).responses)


def expected_advantages(sampled: Sequence[Outcome], student: Source, teacher: Source) -> list[list[float]]:
    return [[log_q - log_p for log_p, log_q in outcome.chunks(student, teacher)] for outcome in sampled]


def largest_error(result: Run, student: Source, teacher: Source) -> float:
    """In nats, over all chunks; infinite where the chunks are not those of the language."""
    worst = 0.0
    expected = expected_advantages(result.outcomes, student, teacher)
    for ours, theirs in zip(result.chunk_advantages(), expected, strict=True):
        if len(ours) != len(theirs):
            return math.inf
        worst = max([worst, *(abs(a - b) for a, b in zip(ours, theirs, strict=True))])
    return worst
