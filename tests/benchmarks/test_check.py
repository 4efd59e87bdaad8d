"""What costs more than the committed figures is found (`make bench-check`)."""

import json
import warnings
from types import SimpleNamespace

import pytest
import torch
import typer

from benchmarks.check import losses, measuring
from benchmarks.check.case import MEMORY, TIME, Case
from benchmarks.check.measuring import peak_bytes, time_ratio
from benchmarks.gpu.losses import tiles_times

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of TRL, whose aligner is measured beside ours, that it is experimental
    import benchmarks.check.__main__ as check
    from benchmarks.check import tokens

NAME = "routine: time beside the reference"


class Work:
    """A clock that two calls move on."""

    def __init__(self, monkeypatch):
        self.now, self.routine, self.reference = 0.0, 3.0, 1.0
        monkeypatch.setattr(measuring, "time", SimpleNamespace(process_time=lambda: self.now))

    def ratio(self) -> float:
        return time_ratio(lambda: self._take(self.routine), lambda: self._take(self.reference), rounds=3)

    def _take(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def small(monkeypatch):
    """The losses with few tokens and entries."""
    for name, value in {"VOCABULARY": 1200, "TEACHER_VOCABULARY": 1400, "FEW": 24, "MANY": 96}.items():
        monkeypatch.setattr(losses, name, value)
    for cached in (losses._world, losses._batch):
        cached.cache_clear()
    yield
    for cached in (losses._world, losses._batch):
        cached.cache_clear()


@pytest.fixture
def work(monkeypatch):
    made = Work(monkeypatch)
    monkeypatch.setattr(check, "all_cases", lambda: [Case(NAME, TIME, made.ratio)])
    return made


def bench(file, **options) -> int:
    try:
        check.main(figures=file, **{"update": False, "only": ""} | options)
    except typer.Exit as ended:
        return ended.exit_code
    return 0


def test_a_routine_that_became_slower_fails(work, tmp_path, capsys):
    file = tmp_path / "figures.json"
    assert bench(file, update=True) == 0
    assert json.loads(file.read_text())["ratios"] == {NAME: 3.0}
    work.routine = 2.99 * TIME
    assert bench(file) == 0
    work.routine = 3.01 * TIME
    assert bench(file) == 1
    assert f"worse than committed: {NAME}" in " ".join(capsys.readouterr().out.split())


def test_a_machine_that_became_slower_does_not(work, tmp_path):
    file = tmp_path / "figures.json"
    bench(file, update=True)
    work.routine, work.reference = 30.0, 10.0
    assert bench(file) == 0


def test_a_ratio_that_looks_worse_is_measured_again_and_the_best_counts(monkeypatch, tmp_path, capsys):
    file, found = tmp_path / "figures.json", iter([2.0, 5.0, 2.1, 5.0, 3.0, 4.0])
    monkeypatch.setattr(check, "all_cases", lambda: [Case(NAME, TIME, lambda: next(found))])
    assert bench(file, update=True) == 0
    assert bench(file) == 0  # by the second one
    assert bench(file) == 1
    assert capsys.readouterr().out.count(f"{NAME}: 3\n") == 1
    assert next(found, None) is None


@pytest.mark.usefixtures("small")
def test_more_memory_fails(tmp_path):
    """Tiles that hold all logits, in the real objective."""
    file, name = tmp_path / "figures.json", "gkd: memory beside both models' logits"
    with tiles_times(2**-10):
        assert bench(file, update=True, only=name) == 0
        assert bench(file, only=name) == 0
    assert bench(file, only=name) == 1


def test_peaks_are_counted_and_not_estimated():
    def call():
        first = torch.zeros(1000)
        second = first + 1  # 8,000 bytes here
        del first
        return second[:10] * 2  # 4,040

    assert peak_bytes(call) == peak_bytes(call) == 8000


def test_rounds_that_were_disturbed_do_not_count(work):
    costs = iter([3.0, 1.0] * 2 + [3.0, 1.0, 90.0, 1.0, 3.0, 1.0])  # warm-up and the number of calls come first

    def take():
        work.now += next(costs)

    ours = reference = take
    assert time_ratio(ours, reference, rounds=3) == 3.0


def test_figures_are_written_by_case(work, tmp_path):
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({"ratios": {"gone": 1.0, NAME: 2.0}}))
    assert bench(file, update=True, only="reference") == 0
    assert json.loads(file.read_text())["ratios"] == {NAME: 3.0}


def test_what_cannot_be_compared_is_told(work, tmp_path, capsys):
    file = tmp_path / "figures.json"
    assert bench(file) == 2
    assert bench(file, update=True, only="no such") == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "there are no figures in" in said
    assert "write them with --update" in said
    assert "no case has 'no such' in its name" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "is not JSON"), ("{}", "has no figures of this command"), ('{"ratios": {"a": null}}', "has no figures of")],
)
@pytest.mark.parametrize("update", [False, True])
def test_files_of_something_else_are_refused_before_anything_is_measured(work, tmp_path, capsys, content, said, update):
    file = tmp_path / "figures.json"
    file.write_text(content)
    assert bench(file, update=update) == 2
    assert bench(tmp_path, update=update) == 2
    told = " ".join(capsys.readouterr().out.split())
    assert said in told
    assert "--figures is a file, and" in told
    assert file.read_text() == content
    assert work.now == 0


def test_some_new_figures_do_not_pass_for_those_of_another_machine(work, tmp_path, monkeypatch, capsys):
    file, other = tmp_path / "figures.json", Case("other", TIME, lambda: 1.0)
    monkeypatch.setattr(check, "all_cases", lambda: [Case(NAME, TIME, work.ratio), other])
    monkeypatch.setattr(check, "machine", lambda: {"machine": "an old one"})
    assert bench(file, update=True) == 0
    assert bench(file, update=True, only="reference") == 0
    before = file.read_text()
    monkeypatch.setattr(check, "machine", lambda: {"machine": "a new one"})
    assert bench(file, update=True, only="reference") == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "(machine: an old one there, a new one now): leave --only out, or name another file" in said
    assert file.read_text() == before
    assert bench(file, update=True) == 0
    assert json.loads(file.read_text())["machine"] == "a new one"


def test_every_case_has_a_committed_figure():
    names = [case.name for case in check.all_cases()]
    assert len(set(names)) == len(names)
    assert set(check.read(check.FIGURES)["ratios"]) == set(names)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning")  # by TRL's configuration
@pytest.mark.parametrize("module", [tokens, losses])
def test_every_case_can_be_measured(monkeypatch, module):
    monkeypatch.setattr(measuring, "LEAST_SECONDS", 1e-3)
    for case in module.cases():
        assert case.measure() > 0, case.name
        assert case.tolerance in (TIME, MEMORY)
