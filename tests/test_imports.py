"""Imports go one way, and a light import stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import crossdistill

PACKAGE = Path(crossdistill.__file__).parent
FACE = ""  # the package itself: it gathers names of the lowest layer
LAYERS = (
    {"tokens", "align"},
    {FACE},
    {"chat", "credit", "ops", "reading"},
    {"objectives"},
    {"teachers"},  # a teacher is asked for the signal that an objective names
    {"inspection"},
    {"train", "eval", "arena", "report", "integrations"},
    {"runs"},
    {"demo"},
    {"cli"},
    {"__main__"},
)
LEVEL = {name: level for level, layer in enumerate(LAYERS) for name in layer}
ANYWHERE = {"errors", "costs"}  # they import nothing of the package but each other
TEACHERS = LEVEL["teachers"]
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """Of "crossdistill.tokens.vocab" it is "tokens"; of the package itself and its public names, FACE."""
    part = [*module.split("."), FACE][1]
    return FACE if part in crossdistill.__all__ else part


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """Full names of everything that the module imports, at its top or inside a function.

    Of ``from a import b`` it gives ``a.b``, because b may be a module.
    """
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield from (".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names)


def imports_of(path: Path) -> list[str]:
    return list(imports(path.read_text(encoding="utf-8"), name_of(path), path.name == "__init__.py"))


def is_allowed(importer: str, imported: str) -> bool:
    """Whether the part `importer` of the package may import from the part `imported`."""
    if importer == imported or imported in ANYWHERE:
        return True
    if importer in ANYWHERE or imported not in LEVEL:
        return False
    return LEVEL[imported] < LEVEL[importer]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_downwards_only(path):
    importer = part_of(name_of(path))
    assert importer in LEVEL or importer in ANYWHERE, f"{importer} has no place in LAYERS: give it one"
    parts = {part_of(name) for name in imports_of(path) if name.split(".")[0] == "crossdistill"}
    forbidden = sorted(part for part in parts if not is_allowed(importer, part))
    assert not forbidden, f"{name_of(path)} may not import from {forbidden}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_layers_above_the_teachers_know_trl(path):
    if LEVEL.get(part_of(name_of(path)), -1) <= TEACHERS:
        assert "trl" not in {name.split(".")[0] for name in imports_of(path)}


@pytest.mark.parametrize(
    "path", [path for path in MODULES if part_of(name_of(path)) in {*LAYERS[0], FACE, "errors"}], ids=name_of
)
def test_the_lowest_layer_needs_numpy_only(path):
    foreign = {name.split(".")[0] for name in imports_of(path)} - set(sys.stdlib_module_names)
    assert foreign <= {"numpy", "crossdistill"}


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter that ran the statement."""
    program = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return set(run.stdout.split())


def test_import_is_light():
    loaded = loaded_by("import crossdistill")
    assert {"crossdistill", "numpy"} <= loaded
    assert not loaded & {"torch", "transformers", "tokenizers", "trl", "datasets", "accelerate", "peft"}


# --- the checks above are themselves checked


def test_layers_name_every_part_once():
    assert len(LEVEL) == sum(map(len, LAYERS))
    assert not LEVEL.keys() & ANYWHERE


@pytest.mark.parametrize(
    ("lower", "upper"),
    list(pairwise(["tokens", FACE, "chat", "objectives", "teachers", "eval", "runs", "demo", "cli"])),
)
def test_direction(lower, upper):
    assert is_allowed(upper, lower)
    assert not is_allowed(lower, upper)


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("tokens", "align", False),
        ("align", "tokens", False),
        ("credit", "credit", True),
        ("credit", "ops", False),
        ("align", "errors", True),
        ("report", "costs", True),
        ("costs", "tokens", False),
        ("errors", "align", False),
        ("cli", "unheard_of", False),
    ],
)
def test_special_cases(importer, imported, allowed):
    assert is_allowed(importer, imported) is allowed


def test_every_way_to_import_is_seen():
    source = """
import numpy as np
import crossdistill.cli.main
from crossdistill import eval
from crossdistill.train.config import Config
from . import sibling
from .deep import name
from ..teachers import local
from .. import demo
def lazily():
    import trl.trainer
"""
    assert list(imports(source, "crossdistill.align.alignment")) == [
        "numpy",
        "crossdistill.cli.main",
        "crossdistill.eval",
        "crossdistill.train.config.Config",
        "crossdistill.align.sibling",
        "crossdistill.align.deep.name",
        "crossdistill.teachers.local",
        "crossdistill.demo",
        "trl.trainer",
    ]
    assert list(imports("from .vocab import ByteVocab", "crossdistill.tokens", is_package=True)) == [
        "crossdistill.tokens.vocab.ByteVocab"
    ]
