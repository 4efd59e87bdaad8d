"""Outcomes of an arena that nobody ran: students that answer by chance, at the accuracies that a test wants."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crossdistill.arena.cell import START, TEACHER, Cell
from crossdistill.arena.file import ArenaFile
from crossdistill.arena.outcome import Answers, Outcome, Status
from crossdistill.arena.tuning import chosen_rate

STEPS, RESPONSES = 40, 64
NUM_VALIDATION = 100


@dataclass(frozen=True)
class Skill:
    """How a method fares.

    Attributes:
        end: its accuracy at the end of training, by rate; a rate that is left out diverges.
        seed_spread: standard deviation of the accuracy over seeds.
        speed: how fast it gets there; 1 reaches nearly the end at the last step.
    """

    end: Mapping[float, float]
    seed_spread: float = 0.02
    speed: float = 1.0


def arena_file(**changed: Any) -> ArenaFile:
    """A file of two pairs on one task, three methods and all controls; `changed` are its keys."""
    task = {"prompts": "p.jsonl", "examples": "e.jsonl", "validation": {"source": "v"}, "test": {"source": "t"}}
    pair = {"task": "sums", "student": "student", "teacher": "teacher", "same_tokenizer_teacher": "twin"}
    content = {
        "seeds": [0, 1, 2, 3, 4],
        "tuning_seed": 100,
        "rates": [1e-4, 3e-4, 1e-3],
        "reference": "dpca",
        "reach": 0.7,
        "methods": {"dpca": {}, "bpm": {}, "cdm": {}},
        "tasks": {"sums": task},
        "pairs": {"fine": pair, "coarse": pair},
        "train": {"max_steps": STEPS},
        **changed,
    }
    return ArenaFile.model_validate(content)


SKILLS = {
    "dpca": Skill({1e-4: 0.8, 3e-4: 0.92, 1e-3: 0.9}),
    "bpm": Skill({1e-4: 0.85, 3e-4: 0.9, 1e-3: 0.8}, speed=2.0),
    "cdm": Skill({1e-4: 0.4, 3e-4: 0.2}, seed_spread=0.05),
    "sft": Skill({1e-4: 0.45, 3e-4: 0.55, 1e-3: 0.6}),
    "seqkd": Skill({1e-4: 0.6, 3e-4: 0.75, 1e-3: 0.7}),
    "same_tokenizer": Skill({1e-4: 0.8, 3e-4: 0.93, 1e-3: 0.9}),
}


def simulated(
    arena: ArenaFile,
    skills: Mapping[str, Skill] | None = None,
    start: float = 0.3,
    teacher: float = 0.98,
    num_problems: int = 200,
) -> dict[Cell, Outcome]:
    """All cells of an arena, finished: both models of each pair, all rates, and all seeds at the best rate."""
    given = SKILLS if skills is None else skills
    outcomes = {}
    for number, pair in enumerate(arena.pairs):
        problems = np.random.default_rng(number).normal(0, 1.5, num_problems)
        for name, accuracy in {START: start, TEACHER: teacher}.items():
            cell = Cell(pair, name, "model")
            outcomes[cell] = finished(cell, Skill({}, 0), start, accuracy, problems)

        def run(cells: Iterable[Cell], skill: Skill, problems: np.ndarray = problems) -> dict[Cell, Outcome]:
            return {cell: _run(cell, skill, start, problems) for cell in cells}

        for method in (*arena.methods, *arena.controls):
            tuned = run((Cell(pair, method, "tune", rate, arena.tuning_seed) for rate in arena.rates), given[method])
            rate = chosen_rate(tuned.values())
            tested = [] if rate is None else [Cell(pair, method, "test", rate, seed) for seed in arena.seeds]
            outcomes |= {**tuned, **run(tested, given[method])}
    return outcomes


def _run(cell: Cell, skill: Skill, start: float, problems: np.ndarray) -> Outcome:
    if cell.rate not in skill.end:
        return broken(cell, "diverged", "the loss is NaN at step 7")
    return finished(cell, skill, start, skill.end[cell.rate], problems)


def finished(cell: Cell, skill: Skill, start: float, end: float, problems: np.ndarray) -> Outcome:
    """A cell that is done."""
    random = np.random.default_rng([*cell.id.encode()])
    reached = float(np.clip(end + random.normal(0, skill.seed_spread), 0, 1)) if skill.seed_spread else end
    spends = cell.stage != "model"
    return Outcome(
        cell=cell,
        rules="rules",
        status="done",
        curve=_curve(random, skill, start, reached) if spends else [],
        validation=answers(random, reached, np.zeros(NUM_VALIDATION), "validation"),
        test=None if cell.stage == "tune" else answers(random, reached, problems, "test"),
        student_tokens=int(STEPS * RESPONSES * random.normal(9, 0.5)) if spends else 0,
        flops=int(3e12 * random.normal(1, 0.03)) if spends else 0,
        seconds=float(random.normal(60, 5)) if spends else 0.0,
        responses=STEPS * RESPONSES if spends else 0,
        bits_per_byte=2.0 + (0.3 * random.random() if spends else 0.0),
        entropy=0.8 - (0.3 * random.random() if spends else 0.0),
        gap=0.1,
        loss=[[step, 1 / step] for step in range(10, STEPS + 1, 10)] if spends else [],
        versions={"crossdistill": "0.1.0", "torch": "2.13.0"},
    )


def broken(cell: Cell, status: Status, reason: str) -> Outcome:
    """A cell that failed or diverged, after a few steps."""
    curve = [{"step": 0, "mean": 0.3, "ci": [0.2, 0.4], "n": NUM_VALIDATION}]
    return Outcome(cell=cell, rules="rules", status=status, reason=reason, curve=curve)


def answers(random: np.random.Generator, accuracy: float, problems: np.ndarray, digest: str) -> Answers:
    """Answers of one sample each; problems are harder than the mean by their log-odds."""
    odds = np.log((accuracy + 1e-9) / (1 - accuracy + 1e-9))
    right = random.random(len(problems)) < 1 / (1 + np.exp(-(odds - problems)))
    return answered(right.astype(int).tolist(), digest)


def answered(correct: Iterable[int], digest: str = "test", k: int = 1) -> Answers:
    """Answers with these numbers of right samples."""
    given = list(correct)
    mean = sum(given) / (k * len(given))
    return Answers(
        mean, (max(0, mean - 0.05), min(1, mean + 0.05)), "".join(map(str, given)), k, digest, 0.95, 0.02, 9.0
    )


def _curve(random: np.random.Generator, skill: Skill, start: float, end: float) -> list[dict[str, Any]]:
    points = []
    for step in range(0, STEPS + 1, 10):
        mean = start + (end - start) * (1 - np.exp(-4 * skill.speed * step / STEPS))
        mean = float(np.clip(mean + random.normal(0, 0.01), 0, 1))
        costs = {"student_tokens": 600 * step, "flops": int(7.5e10 * step), "seconds": 1.5 * step}
        ci = [max(0, mean - 0.09), min(1, mean + 0.09)]
        points.append({"step": step, "mean": mean, "ci": ci, "n": NUM_VALIDATION, **costs})
    return points


def without(outcomes: Mapping[Cell, Outcome], *parts: str) -> dict[Cell, Outcome]:
    """Outcomes of the cells whose id has none of `parts`."""
    return {cell: outcome for cell, outcome in outcomes.items() if not any(part in cell.id for part in parts)}


def with_answers(outcome: Outcome, correct: Sequence[int]) -> Outcome:
    """An outcome with other test answers."""
    return replace(outcome, test=answered(correct))
