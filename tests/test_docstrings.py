"""Examples in docstrings run, and every public name has a docstring with one."""

import doctest
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from crossdistill.extras import missing

ROOT = Path(__file__).parents[1]
PACKAGES = ("", ".align", ".tokens", ".chat", ".ops", ".objectives", ".teachers", ".distill")
FLAGS = doctest.NORMALIZE_WHITESPACE

NEEDS = {
    "crossdistill.arena": "train",
    "crossdistill.arena.overall": "eval",
    "crossdistill.train": "train",
    "crossdistill.runs": "train",
    "crossdistill.integrations.async_trl": "train",
    "crossdistill.integrations.harness": "train",
    "crossdistill.demo": "train",
    "crossdistill.cli.evaluation": "train",
    "crossdistill.eval.cost_fit": "eval",
    "crossdistill.eval.grading": "eval",
    "crossdistill.eval.sandbox": "eval",
    "crossdistill.eval.scores": "eval",
    "crossdistill.eval.tasks.reasoning_gym": "eval",
    "crossdistill.extras": "train",
    "crossdistill.teachers.served": "served",
    "crossdistill.eval.comparison": "eval",
    "crossdistill.report.charts": "report",
    "crossdistill.report.curves": "report",
}
"""Modules or packages that need an extra: without it their examples are skipped."""

WITHOUT_EXAMPLE = {
    # raised, never made by a user
    "crossdistill.chat.TemplateRefusalError": "an error",
    "crossdistill.errors.EvaluationError": "an error",
    "crossdistill.errors.OutOfSpaceError": "an error",
    "crossdistill.errors.RolloutServerError": "an error",
    "crossdistill.errors.ServerError": "an error",
    "crossdistill.errors.TeacherChangedError": "an error",
    "crossdistill.errors.TeacherError": "an error",
    "crossdistill.errors.TeacherUnavailableError": "an error",
    "crossdistill.train.stream.StreamError": "an error",
    # shown by the example of the name that takes or returns them
    "crossdistill.ops.Share": "shown by tiled_sum",
    "crossdistill.ops.TokenLogprobs": "shown by token_logprobs",
    "crossdistill.ops.TopLogprobs": "shown by top_logprobs",
    "crossdistill.objectives.StudentTokens": "shown by AlignedBatch",
    "crossdistill.objectives.TeacherTokens": "shown by AlignedBatch",
    "crossdistill.objectives.PairMeasure": "a protocol: the argument of Objective.describe",
    "crossdistill.eval.grading.Grader": "an interface: implemented by MathGrader and others",
    "crossdistill.eval.task.Task": "an interface: shown in docs/own-task.md",
    "crossdistill.inspection.Inspection": "shown by inspect_pair",
    "crossdistill.inspection.ModelInfo": "shown by inspect_pair",
    "crossdistill.inspection.expected_coverage": "takes an Inspection, which takes seconds to make",
    # need a server or a training run
    "crossdistill.teachers.ServedTeacher": "needs a server",
    "crossdistill.teachers.served.ServedTeacher": "needs a server",
    "crossdistill.teachers.served.Capabilities": "needs a server",
    "crossdistill.integrations.async_trl.AsyncTrainer": "shown in docs/asynchronous.md",
    "crossdistill.integrations.async_trl.FolderWeights": "needs a server",
    "crossdistill.integrations.async_trl.LocalSampler": "needs a model",
    "crossdistill.integrations.async_trl.RolloutWorker": "shown in docs/asynchronous.md",
    "crossdistill.integrations.async_trl.Sampler": "an interface: implemented by LocalSampler and ServedSampler",
    "crossdistill.integrations.async_trl.ServedSampler": "needs a server",
    "crossdistill.train.CrossTokenizerConfig": "shown in README.md",
    "crossdistill.train.CrossTokenizerTrainer": "shown in README.md",
    # need two models, or are made from them
    "crossdistill.distill.Distiller": "shown in docs/own-loop.md",
    "crossdistill.distill.ScoredBatch": "made by Distiller.score",
    "crossdistill.distill.ScoredResponse": "a part of a ScoredBatch",
}
"""Public name -> why its docstring has no example."""


def modules_with_examples() -> list[str]:
    files = [path for path in (ROOT / "crossdistill").rglob("*.py") if ">>> " in path.read_text(encoding="utf-8")]
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files)


def public_names() -> dict[str, object]:
    """Classes and functions that a package exports or docs/api.md lists; constants have no docstring of their own."""
    exported = [
        f"crossdistill{package}.{name}"
        for package in PACKAGES
        for name in import_module(f"crossdistill{package}").__all__
    ]
    listed = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    names = {name: _value(name) for name in sorted({*exported, *listed})}
    return {name: value for name, value in names.items() if inspect.isclass(value) or inspect.isroutine(value)}


def _value(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def docstring(value: object) -> str:
    """The docstring of a class or function itself: neither inherited nor generated from a signature."""
    text = str(vars(value).get("__doc__") or "") if inspect.isclass(value) else str(value.__doc__ or "")
    return "" if text.startswith(f"{getattr(value, '__name__', '')}(") else text


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_run(name: str) -> None:
    for prefix, extra in NEEDS.items():
        if f"{name}.".startswith(f"{prefix}.") and missing(extra):
            pytest.skip(f"needs the extra {extra!r}")
    output: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(import_module(name)):
        runner.run(test, out=output.append)
    assert runner.tries, "the examples are in no docstring"
    assert not runner.failures, "".join(output)


@pytest.mark.skipif(bool(missing("train") or missing("served")), reason="some public names need an extra")
def test_public_names_have_a_docstring_with_an_example() -> None:
    names = public_names()
    undocumented = [name for name, value in names.items() if not docstring(value)]
    assert not undocumented, undocumented
    without_example = {name for name, value in names.items() if ">>> " not in docstring(value)}
    unexplained = sorted(without_example - WITHOUT_EXAMPLE.keys())
    outdated = sorted(WITHOUT_EXAMPLE.keys() - without_example)
    assert not unexplained, "write an example, or a reason in WITHOUT_EXAMPLE"
    assert not outdated, "these have an example: take them out of WITHOUT_EXAMPLE"


def test_every_module_has_a_docstring() -> None:
    """Read, not imported: a module may need an extra."""
    files = sorted((ROOT / "crossdistill").rglob("*.py"))
    undocumented = [str(path) for path in files if not path.read_text(encoding="utf-8").startswith('"""')]
    assert not undocumented, undocumented
