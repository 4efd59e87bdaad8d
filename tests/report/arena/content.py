"""Contents of ``arena.json`` to show."""

import json
from functools import cache
from typing import Any

from crossdistill.arena.results import arena_results
from tests.arena.simulator import SKILLS, Skill, arena_file, simulated, without

ATTACK = '"><script>alert(1)</script>'
METHODS = ("dpca", "dpca-with-marginal-credit", "bpm", "alm", "gold", "simct", "strict", "cdm")


@cache
def whole() -> dict[str, Any]:
    """Two pairs, everything done but a rate."""
    arena = arena_file()
    return arena_results(arena, simulated(arena, num_problems=60), "arena.toml", "runs/arena")


@cache
def partial() -> dict[str, Any]:
    """A method that diverged at every rate, a missing seed, a missing rate, a control that cannot be run."""
    pair = arena_file().pairs["fine"].model_dump()
    arena = arena_file(pairs={"fine": pair, "coarse": {**pair, "same_tokenizer_teacher": None}})
    outcomes = simulated(arena, {**SKILLS, "cdm": Skill({})}, num_problems=60)
    some = without(outcomes, "coarse/bpm/test-lr0.0003-seed3", "fine/sft/tune-lr0.001")
    return arena_results(arena, some, "arena.toml", "runs/arena")


@cache
def empty() -> dict[str, Any]:
    """Nothing is run."""
    return arena_results(arena_file(), {}, "arena.toml", "runs/arena")


@cache
def large() -> dict[str, Any]:
    """Many methods with long names, some of which fail."""
    skills = {name: Skill({1e-4: 0.9 - 0.08 * number}) for number, name in enumerate(METHODS)}
    arena = arena_file(methods={name: {} for name in METHODS}, pairs={"a-pair-with-a-long-name": _pair()})
    outcomes = simulated(arena, {**SKILLS, **skills, "cdm": Skill({})}, num_problems=60)
    return arena_results(arena, without(outcomes, "/gold/test-lr0.0001-seed4"), "a folder/arena.toml", "runs/arena")


@cache
def hostile() -> dict[str, Any]:
    """Names that would write the page, or the Markdown; the arena's own file refuses them."""
    methods = {"dpca": {}, "bpm": {}}
    arena = arena_file(methods=methods, pairs={"fine": _pair()}, seeds=[0, 1])
    content = arena_results(arena, simulated(arena, num_problems=40), "arena.toml", "runs/arena")
    text = json.dumps(content)
    for name, strange in {"dpca": "$x_1$", "bpm": ATTACK.replace("/", "|"), "fine": ATTACK.replace("/", "|")}.items():
        text = text.replace(json.dumps(name), json.dumps(strange))
    found: dict[str, Any] = json.loads(text)
    return found


def _pair() -> dict[str, Any]:
    return arena_file().pairs["fine"].model_dump()
