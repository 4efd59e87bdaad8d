"""Imports go one way, the algorithm needs no engine, and a light import stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import crossdistill

PACKAGE = Path(crossdistill.__file__).parent
ASSETS = PACKAGE / "demo" / "assets"
FACE = ""  # the package itself: it exports names of the lowest layer
LAYERS = (
    {"tokens", "align"},
    {FACE},
    {"chat", "ops", "paired", "signal", "import_path"},
    {"objectives.shared", "reading"},
    {"credit"},
    {"objectives.base"},
    {"objectives.shared.shared_entries"},  # a base class of methods, so an Objective itself
    {"objectives", "teachers"},
    {"distill", "inspection"},
    {"eval"},
    {"report"},
    {"train"},
    {"runs"},
    {"integrations", "demo", "arena"},
    {"cli"},
    {"__main__"},
)
LEVEL = {name: level for level, layer in enumerate(LAYERS) for name in layer}
# they import nothing of the package but each other
ANYWHERE = {
    *("costs", "errors", "extras", "files", "findings", "flops", "json_rows", "keys", "lazy", "phases", "space"),
    "versions",
}
ENGINES = ("trl", "accelerate", "peft", "datasets")
ABOVE_ENGINES = LEVEL["report"]  # layers from here on may import an engine
MAY_IMPORT = {"eval": {"datasets"}}  # the problems of tasks are data sets


def part_of(module: str) -> str:
    """The longest prefix of a module's name that has a layer: "tokens" for "crossdistill.tokens.vocab".

    FACE for the package itself and its exported names; the first component for a module without a layer.
    """
    names = module.split(".")[1:]
    if not names or (names[0] in crossdistill.__all__ and names[0] not in LEVEL):
        return FACE
    prefixes = [".".join(names[:end]) for end in range(len(names), 0, -1)]
    return next((prefix for prefix in prefixes if prefix in LEVEL), names[0])


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """Full names of everything that the module imports, at its top or inside a function.

    ``from a import b`` gives ``a.b``, because b may be a module.
    """
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield from (".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names)


def root_of(name: str) -> str:
    return name.split(".", maxsplit=1)[0]


def is_allowed(importer: str, imported: str) -> bool:
    """Whether the part `importer` of the package may import from the part `imported`."""
    if importer == imported or imported in ANYWHERE:
        return True
    if importer in ANYWHERE or imported not in LEVEL:
        return False
    return LEVEL[imported] < LEVEL[importer]


def offences(imports_by_module: dict[str, list[str]]) -> list[str]:
    """One line for each import that does not go downwards, and for each module without a layer."""
    found = []
    for module, names in imports_by_module.items():
        importer = part_of(module)
        if importer not in LEVEL.keys() | ANYWHERE:
            found.append(f"{module} has no layer: add {importer!r} to LAYERS")
            continue
        own = [name for name in names if root_of(name) == "crossdistill"]
        found += [f"{module} imports {name}" for name in own if not is_allowed(importer, part_of(name))]
    return found


@pytest.fixture(scope="module")
def imports_by_module() -> dict[str, list[str]]:
    """Every module of the package, parsed once."""
    return {
        name_of(path): list(imports(path.read_text(encoding="utf-8"), name_of(path), path.name == "__init__.py"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def test_imports_go_downwards_only(imports_by_module):
    assert not offences(imports_by_module)


def test_engines_are_imported_above_the_algorithm_only(imports_by_module):
    below = [module for module in imports_by_module if LEVEL.get(part_of(module), -1) < ABOVE_ENGINES]
    assert {part_of(module) for module in below} >= {"tokens", "distill", "inspection", "teachers", "errors"}
    assert not [
        f"{module} imports {name}"
        for module in below
        for name in imports_by_module[module]
        if root_of(name) in {*ENGINES} - MAY_IMPORT.get(part_of(module), set())
    ]


def test_the_lowest_layer_needs_numpy_only(imports_by_module):
    lowest = [module for module in imports_by_module if part_of(module) in {*LAYERS[0], FACE, "errors"}]
    own = {"numpy", "crossdistill", *sys.stdlib_module_names}
    assert not [
        f"{module} imports {name}"
        for module in lowest
        for name in imports_by_module[module]
        if root_of(name) not in own
    ]


def fresh(program: str, blocked: Iterable[str] = ()) -> str:
    """Standard output of a program in a fresh interpreter, in which no blocked module can be imported."""
    block = f"import sys; sys.modules.update(dict.fromkeys({list(blocked)}))"
    run = subprocess.run(
        [sys.executable, "-c", f"{block}\n{program}"], capture_output=True, text=True, check=False, cwd=PACKAGE.parent
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


LOADED = "print(*sorted({name.partition('.')[0] for name, module in sys.modules.items() if module}))"


def test_import_is_light():
    without = fresh(f"{LOADED}").split()  # what the interpreter itself loads at its start
    loaded = set(fresh(f"import crossdistill\n{LOADED}").split())
    assert loaded - set(without) - set(sys.stdlib_module_names) == {"crossdistill"}


@pytest.mark.parametrize("before", ["", "import crossdistill.align.alignment, crossdistill.tokens"])
def test_the_face_has_the_function_align_and_not_its_folder(before):
    assert fresh(f"{before}\nfrom crossdistill import align\nprint(align.__name__)").strip() == "align"


NAMES_A_RUN = ["--set", "student=s", "--set", "teacher=t", "--set", "dataset=d"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["train", "--help"], 0),
        (["train", "--keys"], 0),
        (["sft", "--keys", "rate"], 0),
        (["arena", "--keys"], 0),
        (["train", *NAMES_A_RUN, "--set", "max_steps=5"], 2),
        (["train", *NAMES_A_RUN, "--set", "train.learning_rat=5"], 2),
        (["sft", *NAMES_A_RUN[:2], "--set", "lora.rr=5"], 2),
        (["train", "there/is/none.toml"], 2),
        (["align", "org/student"], 2),
        (["train", *NAMES_A_RUN, "--output", str(ASSETS)], 2),
        (["sft", *NAMES_A_RUN, "--output", str(ASSETS)], 2),
    ],
)
def test_commands_that_need_no_engine_load_none(arguments, code):
    """Seconds of every call: help, lists of keys, and what is wrong with a file."""
    program = f"""
from crossdistill.cli import main
sys.argv[1:] = {arguments}
try:
    main()
except SystemExit as end:
    assert end.code == {code}, end.code
print("loaded", *(name for name, module in sys.modules.items() if module))
"""
    loaded = fresh(program).rpartition("loaded ")[2].split()
    assert "crossdistill.cli.app" in loaded
    assert not {"torch", "transformers", *ENGINES} & {*loaded}


def test_what_is_not_installed_is_told_before_an_engine_is_loaded(tmp_path):
    arguments = ["train", *NAMES_A_RUN, "--set", "teacher=http://there", "--output", str(tmp_path / "run")]
    program = f"""
import sys
from crossdistill.cli import main
sys.argv[1:] = {arguments}
sys.stderr = sys.stdout
try:
    main()
except SystemExit as end:
    assert end.code == 2, end.code
print("loaded", *(name for name, module in sys.modules.items() if module))
"""
    said, _, loaded = fresh(program, blocked=["httpx"]).rpartition("loaded ")
    assert "crossdistill[served]" in said
    assert not {"torch", "transformers", *ENGINES} & {*loaded.split()}


def test_align_loads_neither_pytorch_nor_an_engine():
    program = f"""
from crossdistill.cli import main
sys.argv[1:] = ["align", {str(ASSETS / "student")!r}, {str(ASSETS / "teacher")!r}, "two words", "--json"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("loaded", *(name for name, module in sys.modules.items() if module))
"""
    loaded = fresh(program).rpartition("loaded ")[2].split()
    assert "transformers.models.auto.tokenization_auto" in loaded
    assert not {"torch", *ENGINES, "matplotlib", "pandas", "sklearn", "crossdistill.report.html"} & {*loaded}


def test_tokens_and_align_load_numpy_alone(imports_by_module):
    lowest = [module for module in imports_by_module if part_of(module) in LAYERS[0]]
    without = fresh(f"{LOADED}").split()  # what the interpreter itself loads at its start
    loaded = fresh(f"import {', '.join(lowest)}\n{LOADED}").split()
    assert set(loaded) - set(without) - set(sys.stdlib_module_names) == {"numpy", "crossdistill"}


def test_the_algorithm_imports_without_engines_and_without_transformers(imports_by_module):
    """Every module of `distill` and of all layers below it, each method and the served teacher among them."""
    pytest.importorskip("tenacity")  # of the served teacher
    modules = [
        module
        for module in imports_by_module
        if part_of(module) not in {"inspection"} and LEVEL.get(part_of(module), -1) <= LEVEL["distill"]
    ]
    assert {"crossdistill.distill", "crossdistill.objectives.alm", "crossdistill.teachers.served.teacher"} <= {*modules}
    attempts = f"""
import importlib
for module in {modules}:
    try:
        importlib.import_module(module)
    except ImportError as error:
        print(f"{{module}}: {{error}}")
"""
    assert not fresh(attempts, blocked=[*ENGINES, "transformers"]).splitlines()


# --- the checks above are themselves checked


def test_layers_name_every_part_once():
    assert len(LEVEL) == sum(map(len, LAYERS))
    assert not LEVEL.keys() & ANYWHERE


def test_layers_name_nothing_that_is_not_there(imports_by_module):
    assert (LEVEL.keys() | ANYWHERE) - {FACE, *map(part_of, imports_by_module)} == set()


def test_every_offender_is_named():
    found = offences(
        {
            "crossdistill.chat.stop": ["crossdistill.tokens.vocab", "crossdistill.distill.scorer", "re"],
            "crossdistill.objectives.shared.inputs": ["crossdistill.credit.assign_credit"],
            "crossdistill.errors": ["crossdistill.align"],
            "crossdistill.unheard_of": ["json"],
        }
    )
    assert found == [
        "crossdistill.chat.stop imports crossdistill.distill.scorer",
        "crossdistill.objectives.shared.inputs imports crossdistill.credit.assign_credit",
        "crossdistill.errors imports crossdistill.align",
        "crossdistill.unheard_of has no layer: add 'unheard_of' to LAYERS",
    ]


@pytest.mark.parametrize(
    ("lower", "upper"),
    list(pairwise(["tokens", FACE, "chat", "credit", "objectives", "distill", "eval", "runs", "demo", "cli"])),
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
        ("objectives.shared", "objectives", False),
        ("teachers", "objectives", False),
        ("align", "errors", True),
        ("report", "costs", True),
        ("costs", "tokens", False),
        ("errors", "align", False),
        ("cli", "unheard_of", False),
    ],
)
def test_special_cases(importer, imported, allowed):
    assert is_allowed(importer, imported) is allowed


@pytest.mark.parametrize(
    ("module", "part"),
    [
        ("crossdistill", FACE),
        ("crossdistill.ByteVocab", FACE),
        ("crossdistill.align", "align"),  # the package, and the function that the face exports under its name
        ("crossdistill.align.coverage", "align"),
        ("crossdistill.objectives", "objectives"),
        ("crossdistill.objectives.alm", "objectives"),
        ("crossdistill.objectives.shared.inputs.LossInputs", "objectives.shared"),
        ("crossdistill.unheard_of.file", "unheard_of"),
    ],
)
def test_parts(module, part):
    assert part_of(module) == part


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


def test_a_blocked_module_cannot_be_imported():
    with pytest.raises(AssertionError, match="import of colorsys halted"):
        fresh("import colorsys", blocked=["colorsys"])
