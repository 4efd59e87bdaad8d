"""What pyproject.toml promises: extras, ranges and the files of a source distribution."""

import tomllib
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement

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
