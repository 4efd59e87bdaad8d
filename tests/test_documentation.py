"""Pages lead somewhere, and every committed run file is valid. What pages show is run by tests/documentation."""

import re
import tomllib
from pathlib import Path

import pytest

from crossdistill.objectives import available, get
from crossdistill.runs.config import RunConfig
from crossdistill.train import CrossTokenizerConfig
from tests.snippets import ROOT, blocks

DOCS = sorted((ROOT / "docs").rglob("*.md"))
OBJECTIVES = "docs/objectives.md"
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))  # those of verl are held by tests/integrations/verl


def check(run: RunConfig, folder: Path) -> None:
    CrossTokenizerConfig(**{"output_dir": str(folder), **run.trainer_arguments(), "use_cpu": True})


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_valid(path: Path, tmp_path: Path) -> None:
    check(RunConfig.model_validate(tomllib.loads(path.read_text())), tmp_path)


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 2


def test_python_of_the_page_on_objectives_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(OBJECTIVES, "python")
    scope: dict[str, object] = {}
    exec(compile(code.replace('output_dir="out"', 'output_dir="out", use_cpu=True'), OBJECTIVES, "exec"), scope)
    args = scope["args"]
    assert isinstance(args, CrossTokenizerConfig)
    assert args.make_objective() == get("dpca", credit="marginal", top_k=64)


def test_every_objective_has_a_page() -> None:
    """tests/tools/test_objective_tables.py checks the pages' facts and the tables."""
    assert {path.stem for path in (ROOT / "docs/math").glob("*.md")} == set(available())


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"^ +- (?:[\w ]+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE))
    assert listed == {str(path.relative_to(ROOT / "docs")) for path in DOCS}


def test_links_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *DOCS]
    assert len(pages) > 30
    targets = [
        (page, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    ]
    assert not [
        f"{page.relative_to(ROOT)}: {target}" for page, target in targets if not (page.parent / target).exists()
    ]


KEYS = ROOT / "docs/keys.md"  # its headings are made when the site is built


def anchors(page: Path) -> set[str]:
    """Those that the site gives the headings of a page."""
    headings = re.findall(
        r"^#+ +(.+)$", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL), re.MULTILINE
    )
    texts = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower()) for text in texts}


def test_links_to_headings_lead_somewhere() -> None:
    links = [
        (page, (page.parent / target).resolve() if target else page, anchor)
        for page in [*ROOT.glob("*.md"), *DOCS]
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    ]
    assert len(links) > 50
    assert not [
        f"{page.relative_to(ROOT)}: {target.name}#{anchor}"
        for page, target, anchor in links
        if target != KEYS and anchor not in anchors(target)
    ]
