"""The arena's folder: cells are recorded once, survive a kill, and belong to their rules."""

import json

import pytest

from crossdistill import InputError
from crossdistill.arena.cell import Cell
from crossdistill.arena.folder import OUTCOME, ArenaFolder
from crossdistill.arena.outcome import Outcome
from tests.arena.outcomes import outcome

CELL, OTHER = Cell("demo", "dpca", "test", 1e-3, 0), Cell("demo", "dpca", "test", 1e-3, 1)


def same_rules(cell: Cell) -> str:
    return "rules"


def test_outcomes_are_read_back_as_they_were(tmp_path):
    folder = ArenaFolder(tmp_path)
    given = [outcome(CELL, "01", "11"), Outcome(OTHER, "rules", "diverged", "the weights are NaN")]
    for one in given:
        folder.add(one)
    assert folder.outcomes(same_rules) == {one.cell: one for one in given}


def test_a_line_that_a_kill_cut_short_is_run_again(tmp_path):
    folder = ArenaFolder(tmp_path)
    folder.add(outcome(CELL))
    with folder.record.open("a") as file:
        file.write('{"cell": {"pair"')
    with folder.claimed():
        assert set(folder.outcomes(same_rules)) == {CELL}
        folder.add(outcome(OTHER))
    assert set(folder.outcomes(same_rules)) == {CELL, OTHER}


def test_reading_leaves_a_line_alone_that_another_process_may_be_writing(tmp_path):
    folder = ArenaFolder(tmp_path)
    folder.add(outcome(CELL))
    folder.add(outcome(OTHER))
    whole = folder.record.read_bytes()
    folder.record.write_bytes(whole[:-10])
    assert set(folder.outcomes(same_rules)) == {CELL}
    assert folder.record.read_bytes() == whole[:-10]


def test_cells_of_other_rules_are_refused_and_cells_of_no_interest_left_alone(tmp_path):
    folder = ArenaFolder(tmp_path)
    folder.add(outcome(CELL))
    folder.add(outcome(OTHER, rules="others"))
    with pytest.raises(InputError, match=f"1 cells in .* the first is {OTHER.id}: name a new folder, or .*--again"):
        folder.outcomes(same_rules)
    assert set(folder.outcomes({CELL: "rules"}.get)) == {CELL}


@pytest.mark.parametrize("line", ["nonsense\n", '{"cell": 1}\n', "{}\n"])
def test_a_damaged_record_is_told(tmp_path, line):
    folder = ArenaFolder(tmp_path)
    folder.record.write_text(line)
    with pytest.raises(InputError, match=r"line 1 of .*cells.jsonl is"):
        folder.outcomes(same_rules)


def spoilt(part, value):
    entry = json.loads(json.dumps(outcome(CELL, "01", "11").as_dict()))
    *tables, key = part.split(".")
    table = entry
    for name in tables:
        table = table[name]
    table[key] = value
    return json.dumps(entry) + "\n"


@pytest.mark.parametrize(
    ("part", "value", "why"),
    [
        ("status", "dnoe", "status: input should be 'done'"),
        ("curve", None, "curve: input should be a valid"),
        ("curve", [{"step": 1}], "curve.0.mean: field required"),
        ("loss", [["1", 2]], "loss.0.0: input should be a valid number"),
        ("seconds", "3", "seconds: input should be a valid number"),
        ("test.mean", 0.25, "test: the mean is not that of the answers"),
        ("test.correct", "12", "test: the mean is not that of the answers"),
        ("validation.mean", float("nan"), "validation.mean: input should be a finite number"),
        ("cell.rate", None, "cell: a run has a rate and a seed"),
        ("cell.stage", "train", "cell.stage: input should be"),
        ("other", 1, "other: unexpected"),
    ],
)
def test_a_line_that_cannot_be_of_a_cell_is_told_with_its_fault(tmp_path, part, value, why):
    folder = ArenaFolder(tmp_path)
    folder.record.write_text(spoilt(part, value))
    with pytest.raises(InputError, match=f"line 1 of .*cells.jsonl is damaged, .*{why}.*: restore .*, or remove it"):
        folder.outcomes(same_rules)


def test_a_second_line_of_a_cell_must_say_the_same(tmp_path):
    folder = ArenaFolder(tmp_path)
    for one in (outcome(CELL), outcome(OTHER), outcome(CELL)):
        folder.add(one)
    assert set(folder.outcomes(same_rules)) == {CELL, OTHER} and folder.recorded() == [CELL, OTHER]
    folder.add(outcome(CELL, "0001"))
    with pytest.raises(InputError, match=f"lines 1 and 4 of .*say different things of one cell, {CELL.id}: remove"):
        folder.outcomes(same_rules)


def test_what_a_process_left_is_adopted_once_if_it_is_of_these_rules(tmp_path):
    folder = ArenaFolder(tmp_path)
    assert folder.adopt(CELL, "rules") is None
    path = folder.cell(CELL) / OUTCOME
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(outcome(CELL).as_dict()))
    assert folder.adopt(CELL, "others") is None and not path.exists()
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(outcome(CELL).as_dict()))
    assert folder.adopt(CELL, "rules") == outcome(CELL)
    assert set(folder.outcomes(same_rules)) == {CELL}


def test_forgotten_cells_leave_nothing(tmp_path):
    folder = ArenaFolder(tmp_path)
    for cell in (CELL, OTHER):
        folder.add(outcome(cell))
        folder.cell(cell).mkdir(parents=True)
    assert folder.forget(lambda one: one.cell == CELL) == 1
    assert set(folder.outcomes(same_rules)) == {OTHER}
    assert not folder.cell(CELL).exists() and folder.cell(OTHER).exists()
    assert folder.forget(lambda one: False) == 0


def test_one_arena_at_a_time_and_no_other_files(tmp_path):
    folder = ArenaFolder(tmp_path / "arena")
    with folder.claimed(), pytest.raises(InputError, match="another arena writes to"), folder.claimed():
        pass
    with folder.claimed():  # its own record is no obstacle
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with (
        pytest.raises(InputError, match="holds other files than an arena's"),
        ArenaFolder(tmp_path / "other").claimed(),
    ):
        pass
