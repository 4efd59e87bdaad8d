"""The command: what it says and writes if an arena has not begun, is refused or is stopped."""

import signal
from contextlib import nullcontext
from dataclasses import replace

import pytest
import typer

from crossdistill import InputError
from crossdistill.arena.file import read_arena
from crossdistill.arena.folder import ArenaFolder
from crossdistill.arena.plan import models, tuning, wanted
from crossdistill.cli.commands.arena import UNFINISHED, _gpus, command
from crossdistill.runs.interrupt import Interrupted
from tests.arena.files import write_file
from tests.arena.outcomes import outcome


def test_a_report_of_a_folder_without_cells_is_told(tmp_path):
    with pytest.raises(InputError, match="has no cells of an arena: name its folder"):
        command(write_file(tmp_path), tmp_path / "out", report=True)
    assert not (tmp_path / "out").exists()


def test_an_arena_that_is_refused_writes_no_results(tmp_path):
    folder = ArenaFolder(tmp_path / "out")
    with folder.claimed(), pytest.raises(InputError, match="another arena writes to"):
        command(write_file(tmp_path), folder.path)
    assert not folder.results.exists()


@pytest.mark.parametrize(
    ("again", "way_out"), [([], "the same command goes"), (["demo/*"], "the same command without --again goes")]
)
def test_an_arena_that_is_stopped_writes_what_there_is_and_tells_how_to_go_on(
    tmp_path, monkeypatch, capsys, again, way_out
):
    folder = ArenaFolder(tmp_path / "out")

    def stopped(*parts):
        with folder.claimed():
            raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr("crossdistill.arena.run.run_arena", stopped)
    with pytest.raises(typer.Exit) as exit_:
        command(write_file(tmp_path), folder.path, again=again, overrides=["seeds=[7]"])
    assert exit_.value.exit_code == 128 + signal.SIGTERM
    said = capsys.readouterr()
    assert way_out in said.out + said.err and "not run: " not in said.err
    assert folder.results.exists() and folder.report.exists()
    assert "--set 'seeds=[7]'" in folder.markdown.read_text().replace("\\", "")


@pytest.mark.parametrize(("named", "found"), [("", []), ("0,1", []), ("-1", [])])
def test_no_device_is_taken_for_a_gpu_without_one(monkeypatch, named, found):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert _gpus() == found


def test_gpus_have_the_names_that_they_were_given(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert _gpus() == ["3", "5"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert _gpus() == ["0", "1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plan": True, "only": ["demo/*"]}, "--plan runs nothing, so --only has no meaning: leave it out"),
        ({"plan": True, "retry": True}, "--plan runs nothing, so --retry has no meaning"),
        ({"report": True, "again": ["zzz"]}, "--report runs nothing, so --again has no meaning"),
        ({"report": True, "plan": True}, "--plan checks a file before it is run, and --report writes results: give"),
    ],
)
def test_options_of_runs_are_refused_where_nothing_is_run(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        command(write_file(tmp_path), tmp_path / "out", **options)


def test_a_plan_says_what_will_have_no_result(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("crossdistill.arena.checks.check_arena", lambda arena: None)
    claim = "claims=[{claim='twins are best', better='same_tokenizer', worse='dpca'}]"
    command(write_file(tmp_path), plan=True, overrides=["controls=['sft', 'same_tokenizer']", claim])
    assert capsys.readouterr().out.splitlines() == [
        "1 pairs, 1 methods: 10 cells",
        "same_tokenizer is not run on demo: [pairs.demo] names no same_tokenizer_teacher",
        "the claim 'twins are best' is not answered: no pair has both same_tokenizer and dpca",
    ]


@pytest.mark.parametrize(
    ("status", "options", "code"),
    [("failed", {}, UNFINISHED), ("diverged", {}, 0), ("failed", {"only": ["demo/sft/*"]}, 0), (None, {}, UNFINISHED)],
)
def test_the_exit_code_tells_whether_cells_failed_or_were_stopped(tmp_path, monkeypatch, status, options, code):
    path = write_file(tmp_path)
    arena = read_arena(path, ["controls=['sft']"])
    outcomes = {cell: outcome(cell, "01", "01") for cell in models(arena)}
    outcomes |= {cell: outcome(cell) for entrant in ("dpca", "sft") for cell in tuning(arena, "demo", entrant)}
    outcomes |= {cell: outcome(cell, "01", "01") for cell in wanted(arena, outcomes) if cell.stage == "test"}
    last = next(cell for cell in outcomes if cell.method == "dpca" and cell.stage == "test")
    if status is None:
        del outcomes[last]
    else:
        outcomes[last] = replace(outcomes[last], status=status)
    written = []
    monkeypatch.setattr("crossdistill.arena.run.run_arena", lambda *parts: outcomes)
    monkeypatch.setattr("crossdistill.cli.commands.arena._write", lambda *parts: written.append(parts))
    with pytest.raises(typer.Exit) if code else nullcontext() as stop:
        command(path, tmp_path / "out", overrides=["controls=['sft']"], **options)
    assert written and (stop is None or stop.value.exit_code == code)


def test_what_results_need_is_imported_before_signals_are_taken(tmp_path, monkeypatch):
    """A signal within an import of scipy left half a module, and the results could not be written."""
    done = []

    def stopped(*parts):
        done.append("run")
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr("crossdistill.cli.commands.arena._import_for_results", lambda: done.append("import"))
    monkeypatch.setattr("crossdistill.arena.run.run_arena", stopped)
    with pytest.raises(typer.Exit):
        command(write_file(tmp_path), tmp_path / "out")
    assert done == ["import", "run"]
