"""What ends a run is said once."""

import pytest
from accelerate import PartialState

from crossdistill.cli.saying import say
from crossdistill.errors import InputError, TeacherError, mark_known_to_all


@pytest.mark.parametrize("index", [0, 1])
def test_the_main_process_speaks_for_all(monkeypatch, capsys, index):
    waited = []
    monkeypatch.setattr(PartialState, "is_main_process", property(lambda self: index == 0))
    monkeypatch.setattr(PartialState, "wait_for_everyone", lambda self: waited.append(index))
    error = TeacherError("the teacher is gone.")
    mark_known_to_all(error)
    say(error, "the teacher is [gone].")
    assert capsys.readouterr().err == ("the teacher is [gone].\n" if index == 0 else "")
    assert waited == [index]


def test_what_one_process_finds_it_says_itself(monkeypatch, capsys):
    monkeypatch.setattr(PartialState, "is_main_process", property(lambda self: False))
    say(InputError("no such file."), "[red]error:[/red] no such file.", markup=True)
    assert capsys.readouterr().err == "error: no such file.\n"
