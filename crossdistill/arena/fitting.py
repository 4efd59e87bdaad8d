"""Whether the parts of an arena's file fit together: what each key of it says about the others."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crossdistill.arena.tables import CONTROLS, ClaimTable
from crossdistill.distill.names import ONE_TEACHER
from crossdistill.keys.table import Table
from crossdistill.runs.keys import SFT_TRAIN, TRAIN
from crossdistill.runs.tables import check_names, converted

if TYPE_CHECKING:
    from crossdistill.arena.file import ArenaFile

_NAME = re.compile(r"[\w-](?:[\w.-]{0,98}[\w-])?")
_SET_BY_CELLS = {"learning_rate": "rates", "seed": "seeds and tuning_seed"}
"""Keys of [train] that differ between the runs of one method -> the keys of the file that set them."""
_REFUSED = {
    "auto_find_batch_size": "it would train a method on fewer responses a step than the others",
    "eval_strategy": "curves are drawn on the validation problems, every eval_every steps",
    "load_best_model_at_end": "the model at the end of training is compared",
    "num_train_epochs": "max_steps sets the length of every run",
    "push_to_hub": "all cells would write to one place",
    "resume_from_checkpoint": "a cell goes on from its own checkpoint",
}
"""Keys of [train] that have no meaning in an arena, or break its rules -> why."""
_OFF = (None, False, "no")


def check_fit(arena: "ArenaFile") -> None:
    """Check that the parts of a file fit together.

    Args:
        arena: the file, whose tables are right by themselves.

    Raises:
        ValueError: they do not.
    """
    _check_methods(arena)
    for name, pair in arena.pairs.items():
        if pair.task not in arena.tasks:
            raise ValueError(f"the pair {name!r} is on the task {pair.task!r}: write a table [tasks.{pair.task}].")
    for claim in arena.claims:
        _check_claim(arena, claim)
    _check_distinct(arena.claims)
    for path, given, table in _settings(arena):
        _check_refused(path, given)
        check_names(given, table, arena.tables)
    _check_steps(arena)
    for _, given, table in _settings(arena):  # the last check, since it imports libraries for seconds
        converted(given, table)


def check_name(name: str) -> None:
    """Check a name of a method, pair or task, which is a folder's and stands in patterns.

    Raises:
        ValueError: it has other signs, or too many.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"the name {name[:120]!r} is no folder's: use letters, digits, -, _ and dots within, at most 100 of them."
        )


def _check_methods(arena: "ArenaFile") -> None:
    if arena.tuning_seed in arena.seeds:
        raise ValueError(
            f"tuning_seed = {arena.tuning_seed} is one of the seeds: a method would be shown by the run that its rate "
            "was chosen by; take another."
        )
    if arena.reference not in arena.methods:
        raise ValueError(f"reference names {arena.reference!r}, which is not one of {', '.join(arena.methods)}.")
    if arena.methods[arena.reference].pairs is not None:
        raise ValueError(f"the reference {arena.reference!r} must be run on all pairs: leave out its pairs.")
    for name, method in arena.methods.items():
        if name in (*CONTROLS, "start", "teacher"):
            raise ValueError(f"the method {name!r} has the name of a control or model: call it otherwise.")
        if method.pairs == []:
            raise ValueError(f"[methods.{name}] pairs is empty: leave it out for all pairs, or take out the method.")
        unknown = [pair for pair in method.pairs or () if pair not in arena.pairs]
        if unknown:
            raise ValueError(f"[methods.{name}] pairs names {unknown[0]!r}, which is not one of [pairs].")
        if ONE_TEACHER in (method.teachers or {}):
            raise ValueError(
                f"[methods.{name}.teachers.{ONE_TEACHER}] would take the place of the pair's teacher, under which all "
                "methods are compared: give it another name if it is a further one, or write a table [pairs.NAME]."
            )


def _check_claim(arena: "ArenaFile", claim: ClaimTable) -> None:
    said, known = f"the claim {claim.claim!r} names", [*arena.methods, *arena.controls]
    for side in (claim.better, claim.worse):
        if side in CONTROLS and side not in arena.controls:
            raise ValueError(f"{said} {side!r}, which controls leaves out: add it there, or take out the claim.")
        if side not in known:
            raise ValueError(f"{said} {side!r}, which is no method and no control: {', '.join(known)}.")
    if claim.better == claim.worse:
        raise ValueError(f"{said} {claim.better!r} on both sides: name two methods or controls.")


def _check_distinct(claims: list[ClaimTable]) -> None:
    """A comparison that is asked twice would count twice in the correction of the p-values."""
    seen: dict[frozenset[str], ClaimTable] = {}
    for claim in claims:
        other = seen.setdefault(frozenset((claim.better, claim.worse)), claim)
        if other is not claim:
            raise ValueError(
                f"the claims {other.claim!r} and {claim.claim!r} compare the same two, {claim.better} and "
                f"{claim.worse}: one of them answers both; take out the other."
            )


def _settings(arena: "ArenaFile") -> Iterator[tuple[str, dict[str, Any], Table]]:
    """Tables of a library's settings: their path, what they say, and which keys they may have."""
    given = {"train": arena.train} | {f"pairs.{name}.train": pair.train for name, pair in arena.pairs.items()}
    given |= {f"methods.{name}.train": method.train for name, method in arena.methods.items()}
    yield from ((path, settings, replace(TRAIN, path=path)) for path, settings in given.items())
    yield "sft", arena.sft, replace(SFT_TRAIN, path="sft")


def _check_refused(path: str, given: dict[str, Any]) -> None:
    for key, value in given.items():
        if key in _SET_BY_CELLS:
            raise ValueError(f"[{path}] {key} is set by {_SET_BY_CELLS[key]}, for all alike: leave it out.")
        if key in _REFUSED and value not in _OFF:
            raise ValueError(f"[{path}] {key} cannot be set here, because {_REFUSED[key]}: leave it out.")


def _check_steps(arena: "ArenaFile") -> None:
    if "max_steps" not in arena.train:
        raise ValueError("[train] max_steps is missing: every method makes the same number of steps.")
    for path, given, _ in _settings(arena):
        steps = given.get("max_steps", 1)
        if type(steps) is not int or steps < 1:  # true is no number
            raise ValueError(f"[{path}] max_steps = {steps!r} is no number of steps: give an integer above 0.")
    for name, pair in arena.pairs.items():
        steps = {**arena.train, **pair.train}["max_steps"]
        if arena.eval_every is not None and arena.eval_every > steps:
            raise ValueError(
                f"eval_every = {arena.eval_every} is more than the {steps} steps of {name!r}, so its curves would have "
                "no point on the way: lower it, or leave it out for ten points."
            )
