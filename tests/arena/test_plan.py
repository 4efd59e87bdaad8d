"""Which cells an arena has, and in which order they come."""

from dataclasses import replace

from crossdistill.arena.cell import Cell
from crossdistill.arena.plan import entrants, every_cell, models, num_cells, tuning, wanted
from tests.arena.files import read
from tests.arena.outcomes import outcome


def test_entrants_are_the_methods_and_the_controls_that_can_be_run(tmp_path):
    arena = read(tmp_path, "controls=['sft', 'seqkd', 'same_tokenizer']")
    assert entrants(arena, "demo") == ["dpca", "sft", "seqkd"]
    arena.pairs["demo"].same_tokenizer_teacher = "x"
    arena.tasks["sums"].examples = None
    assert entrants(arena, "demo") == ["dpca", "seqkd", "same_tokenizer"]


def test_a_method_may_be_for_some_pairs_alone(tmp_path):
    arena = read(tmp_path, "methods.bpm.pairs=['demo']", "controls=[]")
    arena.pairs["other"] = arena.pairs["demo"]
    assert (entrants(arena, "demo"), entrants(arena, "other")) == (["dpca", "bpm"], ["dpca"])


def test_models_come_first_then_tuning_then_a_seed_of_each_method(tmp_path):
    arena = read(tmp_path, "controls=['sft']")
    first = wanted(arena, {})
    assert [cell.id for cell in first] == [
        "demo/start/model",
        "demo/teacher/model",
        "demo/dpca/tune-lr0.0003-seed100",
        "demo/dpca/tune-lr0.001-seed100",
        "demo/sft/tune-lr0.0003-seed100",
        "demo/sft/tune-lr0.001-seed100",
    ]
    outcomes = {cell: outcome(cell, "0111" if cell.rate == 1e-3 else "0001") for cell in first}
    later = wanted(arena, outcomes)[len(first) :]
    assert [(cell.method, cell.rate, cell.seed) for cell in later] == [
        ("dpca", 1e-3, 0),
        ("sft", 1e-3, 0),
        ("dpca", 1e-3, 1),
        ("sft", 1e-3, 1),
    ]
    assert num_cells(arena) == len(first) + len(later)


def test_a_method_waits_for_all_of_its_rates_and_has_no_tests_if_all_fail(tmp_path):
    arena = read(tmp_path, "controls=[]")
    low, high = tuning(arena, "demo", "dpca")
    assert not any(cell.stage == "test" for cell in wanted(arena, {low: outcome(low)}))
    failed = {cell: replace(outcome(cell), status="failed") for cell in (low, high)}
    assert not any(cell.stage == "test" for cell in wanted(arena, failed))


def test_every_cell_of_a_file_is_known_at_any_rate(tmp_path):
    arena = read(tmp_path)
    is_cell = every_cell(arena)
    assert all(map(is_cell, models(arena)))
    assert is_cell(Cell("demo", "seqkd", "test", 3e-4, 1)) and is_cell(Cell("demo", "dpca", "tune", 1e-3, 100))
    assert not is_cell(Cell("demo", "dpca", "test", 1e-2, 0)) and not is_cell(Cell("demo", "dpca", "test", 1e-3, 2))
