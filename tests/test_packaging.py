"""What pyproject.toml and CITATION.cff promise: extras, ranges, addresses and the files of a source distribution."""

import re
import tomllib
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from crossdistill import __version__
from crossdistill.extras import EXTRAS, missing
from tests.snippets import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CORE = PROJECT["project"]["dependencies"]
OPTIONAL = PROJECT["project"]["optional-dependencies"]
GROUPS = PROJECT["dependency-groups"]
HARNESSES = {"lm-eval", "evalscope"}
"""Extras that may live in environments of their own."""


def names(requirements: list[str]) -> set[str]:
    return {Requirement(text).name.lower().replace("-", "_") for text in requirements}


def test_extras_install_the_modules_that_the_messages_promise() -> None:
    for extra, modules in EXTRAS.items():
        assert set(modules) <= names(OPTIONAL[extra]), extra


def test_no_extra_is_in_the_core() -> None:
    assert not names(CORE) & {module for extra in ("train", "served") for module in EXTRAS[extra]}


def test_all_is_everything_but_vllm_deepspeed_and_the_harnesses() -> None:
    (everything,) = map(Requirement, OPTIONAL["all"])
    assert (everything.name, everything.extras) == (
        "crossdistill",
        OPTIONAL.keys() - {"all", "vllm", "deepspeed", *HARNESSES},
    )


@pytest.mark.skipif(missing("train"), reason="asks TRL")
def test_the_range_of_vllm_is_that_of_trl() -> None:
    ours = [Requirement(text).specifier for text in OPTIONAL["vllm"]]
    required = [Requirement(text) for text in requires("trl") or []]
    theirs = [one.specifier for one in required if one.name == "vllm" and one.marker.evaluate({"extra": "vllm"})]
    versions = [f"0.{minor}.{patch}" for minor in range(15, 45) for patch in (0, 1)]
    assert [list(map(str, one.filter(versions))) for one in ours] == [
        list(map(str, one.filter(versions))) for one in theirs
    ]


def test_pinned_versions_are_in_the_ranges() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pins = {name.lower().replace("-", "_"): version for name, version in pins.items()}
    ranges = [*CORE, *(text for extra in OPTIONAL.keys() - HARNESSES for text in OPTIONAL[extra])]
    ranges += [text for group in GROUPS.values() for text in group if isinstance(text, str)]
    for requirement in map(Requirement, ranges):
        version = pins.get(requirement.name.lower().replace("-", "_"))
        assert version is None or requirement.specifier.contains(version), requirement
    assert names(CORE) <= pins.keys()


def test_a_source_distribution_names_what_is_there() -> None:
    for pattern in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]:
        assert list(ROOT.glob(pattern)), pattern


# ---- the README apart from the repository, and how to cite it ----------------------------------------------------

REPOSITORY = PROJECT["project"]["urls"]["Repository"]
AT_HOME = re.compile(rf"(?:{REPOSITORY}/blob|{REPOSITORY.replace('github.com', 'raw.githubusercontent.com')})/main/")


def readme_of_the_index() -> str:
    """The README as a package index shows it, by the rules of pyproject.toml."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for rule in PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    return text


def test_links_of_the_readme_lead_somewhere_outside_the_repository() -> None:
    targets = re.findall(r"\]\(([^)#]+)", readme_of_the_index())
    assert len(targets) > 20
    assert not [target for target in targets if not target.startswith("https://")]
    ours = [AT_HOME.sub("", target) for target in targets if AT_HOME.match(target)]
    assert len(ours) > 20
    assert not [path for path in ours if not (ROOT / path).exists()]


def test_addresses_of_the_project_are_those_of_its_repository() -> None:
    assert all(address.startswith(REPOSITORY) for address in PROJECT["project"]["urls"].values())
    linked = {AT_HOME.sub("", address) for address in PROJECT["project"]["urls"].values() if AT_HOME.match(address)}
    assert linked
    assert all((ROOT / path).exists() for path in linked)


def test_classifiers_are_of_pythons_that_can_be_installed() -> None:
    named = {line.rpartition(" ")[2] for line in PROJECT["project"]["classifiers"] if ":: Python :: 3." in line}
    assert named
    assert set(SpecifierSet(PROJECT["project"]["requires-python"]).filter(named)) == named
    assert PROJECT["tool"]["mypy"]["python_version"] in named


def test_the_changelog_has_this_version() -> None:
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_citation_has_what_its_format_requires() -> None:
    """Of Citation File Format 1.2.0: cff-version, message, title and authors; an author has a name."""
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert all(isinstance(cited[key], str) and cited[key] for key in ("message", "title"))
    assert cited["authors"] and all(author.get("name") or author.get("family-names") for author in cited["authors"])
    assert cited["type"] == "software"
    assert (cited["version"], cited["license"]) == (__version__, PROJECT["project"]["license"])
    assert cited["repository-code"] == REPOSITORY
