"""The command: what it says and writes if an arena has not begun, is refused or is stopped."""

import signal

import pytest
import typer

from crossdistill import InputError
from crossdistill.arena.folder import ArenaFolder
from crossdistill.cli.commands.arena import _gpus, command
from crossdistill.runs.interrupt import Interrupted
from tests.arena.files import write_file


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
