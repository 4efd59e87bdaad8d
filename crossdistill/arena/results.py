"""``arena.json``: the rules, the pairs, every row with its runs, and who wins against whom."""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from crossdistill.arena.cell import START, TEACHER, Cell
from crossdistill.arena.file import ArenaFile
from crossdistill.arena.models import Models, model_entry
from crossdistill.arena.outcome import Answers, Outcome
from crossdistill.arena.overall import overall_of
from crossdistill.arena.row import row_of
from crossdistill.arena.standing import Standing, standings_of
from crossdistill.arena.verdict import noise_floor, verdicts_of
from crossdistill.errors import InputError


def arena_results(
    arena: ArenaFile,
    outcomes: Mapping[Cell, Outcome],
    file: str | Path,
    output: str | Path,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """The content of ``arena.json``, for cells of which any number may be finished.

    Args:
        arena: the file's content.
        outcomes: of the finished cells, models as they are among them. Others may be in it, and are left out.
        file: path of the arena's file, for the commands that run what is missing.
        output: the arena's folder, likewise.
        overrides: ``key=value`` of the file that was read, likewise.

    Returns:
        JSON data:

        - ``rules``: the ``file``'s content, its ``digest``, and the ``versions`` of what ran the cells;
        - ``cells``: how many are done, failed, diverged and missing;
        - ``pairs``: for each, its models as they are, the headroom, and the noise floor;
        - ``rows``: :func:`crossdistill.arena.row.row_of` for each method and control of each pair;
        - ``verdicts``: :meth:`crossdistill.arena.verdict.Verdict.as_dict` for each two of a pair;
        - ``claims``: the file's claims, each with its verdicts by pair;
        - ``overall``: :func:`crossdistill.arena.overall.overall_of`.

    Raises:
        InputError: two cells of a pair answered other problems, or a finished one lacks its answers.
    """
    pairs, rows, verdicts = [], [], []
    command = partial(_command, file, output, overrides)
    claims: list[dict[str, Any]] = [{**claim.model_dump(), "verdicts": []} for claim in arena.claims]
    for pair in arena.pairs:
        models, standings = Models.of(pair, outcomes), standings_of(arena, pair, outcomes)
        _check_problems(models, standings)
        pairs.append(_pair(arena, pair, models, standings, partial(command, pair)))
        rows += [row_of(arena, item, models, command(pair, item.method, item.status)) for item in standings]
        verdicts += [verdict.as_dict() for verdict in verdicts_of(standings, arena.reference)]
        asked = dict.fromkeys((claim.better, claim.worse) for claim in arena.claims)
        for verdict in verdicts_of(standings, arena.reference, list(asked)):
            for claim in claims:
                if (claim["better"], claim["worse"]) == (verdict.first, verdict.second):
                    claim["verdicts"].append(verdict.as_dict())
    return {
        "rules": _rules(arena, outcomes.values()),
        "cells": _cells(pairs, rows),
        "pairs": pairs,
        "rows": rows,
        "verdicts": verdicts,
        "claims": claims,
        "overall": overall_of(rows, verdicts, arena.reference),
    }


def _pair(
    arena: ArenaFile, pair: str, models: Models, standings: Iterable[Standing], command: Callable[[str, str], str]
) -> dict[str, Any]:
    table, headroom = arena.pairs[pair], models.headroom
    tested = models.start or models.teacher
    answers = None if tested is None else tested.test
    return {
        "pair": pair,
        **table.model_dump(include={"task", "student", "teacher", "same_tokenizer_teacher"}),
        "num_problems": None if answers is None else len(answers.correct),
        "k": None if answers is None else answers.k,
        "models": {
            name: model_entry(outcome, command(name, "not run" if outcome is None else outcome.status))
            for name, outcome in ((START, models.start), (TEACHER, models.teacher))
        },
        "headroom": None if headroom is None else headroom.as_dict(),
        "has_headroom": None if headroom is None else models.has_headroom,
        "reference": arena.reference,
        "noise_floor": next(noise_floor(standing) for standing in standings if standing.method == arena.reference),
    }


def _command(
    file: str | Path, output: str | Path, overrides: Sequence[str], pair: str, method: str, status: str
) -> str:
    """What runs the missing cells of a method on a pair, or of a model; and those again that failed or diverged."""
    pattern = f"{pair}/{method}/*"
    repeated = {"failed": ["--retry"], "diverged": ["--again", pattern]}.get(status, [])
    changed = [part for override in overrides for part in ("--set", override)]
    options = ["--output", str(output), *changed, "--only", pattern, *repeated]
    return shlex.join(["crossdistill", "arena", str(file), *options])


def _rules(arena: ArenaFile, outcomes: Iterable[Outcome]) -> dict[str, Any]:
    file = arena.model_dump(mode="json")
    found: dict[str, set[str]] = {}
    for outcome in outcomes:
        for name, version in outcome.versions.items():
            found.setdefault(name, set()).add(version)
    return {
        "file": file,
        "digest": sha256(json.dumps(file, sort_keys=True).encode()).hexdigest(),
        "versions": {name: sorted(versions) for name, versions in sorted(found.items())},
    }


def _cells(pairs: Iterable[Mapping[str, Any]], rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many cells there are in each state; those that cannot be run are not counted."""
    states = Counter(
        "missing" if model["status"] == "not run" else model["status"]
        for pair in pairs
        for model in pair["models"].values()
    )
    for row in rows:
        if row["command"] is None and row["status"] != "done":
            continue  # it cannot be run
        has_or_gets_rate = row["rate"] is not None or any(run["status"] == "missing" for run in row["tuning"])
        states.update(run["status"] for run in (*row["tuning"], *(row["runs"] if has_or_gets_rate else ())))
    return {state: states[state] for state in ("done", "failed", "diverged", "missing")}


def _check_problems(models: Models, standings: Iterable[Standing]) -> None:
    """Raises InputError unless all of a pair's finished cells answered the same problems."""
    tuning = [outcome for standing in standings for outcome in standing.tuning.values()]
    compared = [outcome for standing in standings for outcome in standing.runs.values()]
    as_they_are = [outcome for outcome in (models.start, models.teacher) if outcome is not None]
    for kind, outcomes in {"validation": tuning, "test": [*as_they_are, *compared]}.items():
        first = None
        for outcome in outcomes:
            if outcome is None or outcome.status != "done":
                continue
            answers: Answers | None = getattr(outcome, kind)
            if answers is None or not answers.is_whole:
                raise InputError(
                    f"the cell {outcome.cell.id} is done but lacks answers to {kind} problems, or has damaged ones: "
                    f"run it again, with --again '{outcome.cell.id}'."
                )
            first = first or (outcome.cell.id, answers)
            if _asked(answers) != _asked(first[1]):
                raise InputError(
                    f"the cells {first[0]} and {outcome.cell.id} answered other {kind} problems, or were sampled "
                    f"otherwise: run the one that is out of date again, with --again '{first[0]}' or --again "
                    f"'{outcome.cell.id}'."
                )


def _asked(answers: Answers) -> tuple[str, int, int]:
    return answers.digest, len(answers.correct), answers.k
