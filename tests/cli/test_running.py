"""What a run says that stops before it has begun."""

import pytest
import typer

from crossdistill.cli.running import reporting_interruption


def stopped(folder, **options) -> int:
    with pytest.raises(typer.Exit) as end, reporting_interruption(folder, **options):
        raise KeyboardInterrupt
    return end.value.exit_code


def test_ctrl_c_while_models_are_read_says_what_to_do(tmp_path, capsys):
    assert stopped(tmp_path) == 130
    assert capsys.readouterr().err == "stopped by SIGINT; nothing was trained: begin again\n"
    (tmp_path / "config.json").write_text("{}")
    stopped(tmp_path)
    assert "--resume begins again" in capsys.readouterr().err
    stopped(tmp_path, way_out="nothing was written")
    assert capsys.readouterr().err == "stopped by SIGINT; nothing was written\n"


def test_one_of_several_processes_speaks(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert stopped(tmp_path) == 130
    assert capsys.readouterr().err == ""
