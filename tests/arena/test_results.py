"""``arena.json``: rows, models, commands and counts, for whole arenas, parts of them and damaged ones."""

import json
import math
from dataclasses import replace
from fnmatch import fnmatch
from functools import cache

import numpy as np
import pytest

from crossdistill.arena.cell import START, TEACHER, Cell
from crossdistill.arena.plan import num_cells, possible
from crossdistill.arena.results import arena_results
from crossdistill.errors import InputError
from crossdistill.eval.interval import mean_interval
from tests.arena.simulator import (
    RESPONSES,
    SKILLS,
    STEPS,
    Skill,
    answered,
    arena_file,
    broken,
    simulated,
    with_answers,
    without,
)

ARENA = arena_file()
WHOLE = simulated(ARENA, num_problems=60)


def results(outcomes=None, arena=ARENA):
    if outcomes is None and arena is ARENA:
        return _of_the_whole()
    return arena_results(arena, WHOLE if outcomes is None else outcomes, "arena.toml", "runs/arena")


@cache
def _of_the_whole():
    return arena_results(ARENA, WHOLE, "arena.toml", "runs/arena")


def row(content, method="dpca", pair="fine"):
    return next(row for row in content["rows"] if row["method"] == method and row["pair"] == pair)


def run(outcomes, method="dpca", seed=0, pair="fine"):
    return next(
        outcome
        for cell, outcome in outcomes.items()
        if (cell.pair, cell.method, cell.stage, cell.seed) == (pair, method, "test", seed)
    )


def test_a_row_for_each_pair_and_method():
    found = [(row["pair"], row["method"], row["kind"]) for row in results()["rows"]]
    methods = [*((name, "method") for name in ("dpca", "bpm", "cdm"))]
    controls = [*((name, "control") for name in ("sft", "seqkd", "same_tokenizer"))]
    assert found == [(pair, *each) for pair in ("fine", "coarse") for each in (*methods, *controls)]


def test_content_is_json():
    content = results()
    assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_a_rows_figures_are_those_of_its_runs():
    found = row(results())
    runs = [run(WHOLE, seed=seed) for seed in range(5)]
    means = [outcome.test.mean for outcome in runs]
    assert found["mean"] == pytest.approx(np.mean(means))
    # Student's t with four degrees of freedom
    half_width = 2.7764 * np.std(means, ddof=1) / math.sqrt(5)
    assert found["interval"] == pytest.approx([np.mean(means) - half_width, np.mean(means) + half_width], rel=2e-3)
    assert found["seeds"] == [0, 1, 2, 3, 4]
    for cost in ("student_tokens", "responses", "flops", "seconds"):
        assert found[cost] == pytest.approx(np.mean([getattr(outcome, cost) for outcome in runs]))
    assert found["seconds_per_step"] == pytest.approx(found["seconds"] / STEPS)
    assert [entry["correct"] for entry in found["runs"]] == [outcome.test.correct for outcome in runs]
    assert found["gain"]["mean"] == pytest.approx(found["mean"] - WHOLE[Cell("fine", START, "model")].test.mean)
    assert found["side_effects"]["entropy"]["mean"] == pytest.approx(np.mean([outcome.entropy for outcome in runs]))
    assert found["side_effects"]["entropy"]["start"] == WHOLE[Cell("fine", START, "model")].entropy


def test_gap_recovery_is_of_start_and_teacher():
    found = row(results())
    start, teacher = (WHOLE[Cell("fine", name, "model")].test.mean for name in (START, TEACHER))
    assert found["gap_recovery"]["mean"] == pytest.approx((found["mean"] - start) / (teacher - start))


def test_the_rate_is_the_best_on_validation_and_its_edge_is_told():
    found = row(results(), "cdm")
    tuned = {entry["rate"]: entry["status"] for entry in found["tuning"]}
    assert tuned == {1e-4: "done", 3e-4: "done", 1e-3: "diverged"}
    assert (found["rate"], found["edge"]) == (1e-4, "lowest")
    assert row(results(), "dpca")["edge"] is None
    highest = simulated(ARENA, {**SKILLS, "bpm": Skill({1e-4: 0.2, 3e-4: 0.5, 1e-3: 0.9})}, num_problems=60)
    assert row(results(highest), "bpm")["edge"] == "highest"


def test_a_single_rate_is_no_choice():
    arena = arena_file(rates=[3e-4], seeds=[0, 1])
    found = row(results(simulated(arena, num_problems=40), arena))
    assert (found["status"], found["rate"], found["edge"], found["tuning"]) == ("done", 3e-4, "only", [])
    assert not [cell for cell in possible(arena) if cell.stage == "tune"]
    assert num_cells(arena) == len(possible(arena)) == 2 * (2 + 6 * 2)
    assert row(results({}, arena))["reason"] == "no seed has been run"


# --- what is missing, failed or diverged


def test_nothing_is_run():
    content = results({})
    assert {row["status"] for row in content["rows"]} == {"not run"}
    assert row(content)["reason"] == "no rate is chosen yet: the tuning runs at 0.0001, 0.0003, 0.001 are missing"
    figures = ("mean", "interval", "rate", "gain", "gap_recovery", "flops", "seconds", "seconds_per_step", "reach")
    assert all(row(content)[figure] is None for figure in figures)
    assert {verdict["verdict"] for verdict in content["verdicts"]} == {"not run"}
    assert content["pairs"][0]["models"]["start"]["status"] == "not run"
    assert content["pairs"][0]["headroom"] is None
    assert content["cells"] == {"done": 0, "failed": 0, "diverged": 0, "missing": 2 * (2 + 6 * (3 + 5))}


def test_no_seed_is_run():
    content = results(without(WHOLE, "/test"))
    assert row(content)["status"] == "not run"
    assert row(content)["reason"] == "no seed has been run"
    assert row(content)["rate"] == 3e-4


def test_some_seeds_are_missing():
    content = results(without(WHOLE, "fine/dpca/test-lr0.0003-seed1", "fine/dpca/test-lr0.0003-seed4"))
    found = row(content)
    assert (found["status"], found["reason"]) == ("partial", "missing of 5 seeds: 1, 4")
    assert (found["seeds"], found["num_seeds"]) == ([0, 2, 3], 5)
    assert found["mean"] == pytest.approx(np.mean([run(WHOLE, seed=seed).test.mean for seed in (0, 2, 3)]))
    assert [entry["status"] for entry in found["runs"]] == ["done", "missing", "done", "done", "missing"]


def test_one_seed_has_no_interval():
    arena = arena_file(seeds=[7])
    content = results(simulated(arena, num_problems=60), arena)
    found = row(content)
    assert (found["status"], found["interval"], found["seeds"]) == ("done", None, [7])
    assert found["gain"]["ci"] is not None  # over problems
    assert {verdict["verdict"] for verdict in content["verdicts"]} == {"no test"}
    assert content["verdicts"][0]["reason"] == "one seed does not tell how much seeds vary"


def test_all_rates_diverged():
    content = results(simulated(ARENA, {**SKILLS, "cdm": Skill({})}, num_problems=60))
    found = row(content, "cdm")
    assert (found["status"], found["rate"], found["mean"]) == ("diverged", None, None)
    assert found["reason"].startswith("rate 0.0001 diverged (the loss is NaN at step 7); rate 0.0003 diverged")
    assert [entry["curve"] for entry in found["tuning"]] != [[], [], []]  # it is shown, and not left out
    assert found["command"].endswith("--only 'fine/cdm/*' --again 'fine/cdm/*'")
    # its seeds will never be run, so nothing is missing
    assert content["cells"]["missing"] == 0
    assert content["cells"]["diverged"] == 6


def test_a_rate_that_failed_for_another_reason():
    outcomes = simulated(ARENA, {**SKILLS, "cdm": Skill({})}, num_problems=60)
    cell = Cell("fine", "cdm", "tune", 1e-4, 100)
    outcomes[cell] = broken(cell, "failed", "out of memory")
    found = row(results(outcomes), "cdm")
    assert found["status"] == "failed"
    assert "rate 0.0001 failed (out of memory)" in found["reason"]
    assert found["command"].endswith("--only 'fine/cdm/*' --retry")


def test_a_failed_rate_beside_one_that_is_missing_is_not_yet_a_failed_method():
    outcomes = without(simulated(ARENA, {**SKILLS, "cdm": Skill({})}, num_problems=60), "cdm/tune-lr0.001")
    found = row(results(outcomes), "cdm")
    assert found["status"] == "not run"
    assert "the tuning runs at 0.001 are missing" in found["reason"]


def test_a_seed_diverged_and_another_is_missing():
    outcomes = without(WHOLE, "fine/bpm/test-lr0.0003-seed2")
    cell = Cell("fine", "bpm", "test", 3e-4, 0)
    outcomes[cell] = broken(cell, "diverged", "NaN")
    found = row(results(outcomes), "bpm")
    assert (found["status"], found["seeds"]) == ("diverged", [1, 3, 4])
    assert found["reason"] == "seed 0 diverged (NaN); missing of 5 seeds: 2"


def test_controls_without_what_they_need():
    task = {"prompts": "p", "validation": {}, "test": {}}
    pair = {"task": "sums", "student": "s", "teacher": "t"}
    arena = arena_file(tasks={"sums": task}, pairs={"fine": pair})
    content = results(without(WHOLE, "sft", "same_tokenizer"), arena)
    assert row(content, "same_tokenizer")["reason"] == "[pairs.fine] names no same_tokenizer_teacher"
    assert row(content, "sft")["reason"] == "[tasks.sums] names no examples"
    for method in ("sft", "same_tokenizer"):
        assert (row(content, method)["status"], row(content, method)["command"]) == ("not run", None)
    assert content["cells"]["missing"] == 0
    assert not [verdict for verdict in content["verdicts"] if "sft" in (verdict["first"], verdict["second"])]


def test_a_method_that_the_file_leaves_out_on_a_pair():
    methods = {"dpca": {}, "bpm": {"pairs": ["coarse"]}, "cdm": {}}
    content = results(arena=arena_file(methods=methods))
    found = row(content, "bpm")
    assert (found["status"], found["reason"]) == ("not run", "[methods.bpm] pairs leaves fine out")
    assert (found["command"], found["mean"], found["seeds"]) == (None, None, [])
    assert row(content, "bpm", "coarse")["status"] == "done"
    against = [verdict for verdict in content["verdicts"] if "bpm" in (verdict["first"], verdict["second"])]
    assert {verdict["pair"] for verdict in against} == {"coarse"}
    assert content["cells"]["missing"] == 0
    overall = next(entry for entry in content["overall"] if entry["method"] == "bpm")
    assert (overall["num_done"], overall["num_ranked"], overall["against_reference"]["not run"]) == (1, 1, 0)


def test_commands_run_the_rows_cells():
    arena = arena_file(pairs={"fine": ARENA.pairs["fine"].model_dump()})
    content = arena_results(arena, {}, "my arena.toml", "runs/arena")
    command = row(content)["command"]
    assert command.startswith("crossdistill arena 'my arena.toml' --output runs/arena --only '")
    pattern = command.split(" --only ")[1].strip("'")
    assert fnmatch(Cell("fine", "dpca", "test", 3e-4, 1).id, pattern)
    assert not fnmatch(Cell("fine", "bpm", "test", 3e-4, 1).id, pattern)
    assert row(results())["command"] is None


def test_without_headroom_there_is_no_gap():
    content = results(simulated(ARENA, teacher=0.3, num_problems=60))
    assert content["pairs"][0]["has_headroom"] is False
    assert row(content)["gap_recovery"] is None
    assert row(content)["gain"] is not None


def test_without_the_start_there_is_no_gain():
    content = results(without(WHOLE, "start"))
    assert (row(content)["gain"], row(content)["gap_recovery"]) == (None, None)
    assert row(content)["side_effects"]["parsed"]["start"] is None
    assert row(content)["status"] == "done"


def test_a_model_that_failed_is_shown_as_that():
    cell = Cell("fine", TEACHER, "model")
    content = results({**WHOLE, cell: broken(cell, "failed", "no such server")})
    teacher = content["pairs"][0]["models"]["teacher"]
    assert (teacher["status"], teacher["reason"]) == ("failed", "no such server")
    assert teacher["command"].endswith("--only 'fine/teacher/*' --retry")
    assert content["pairs"][0]["has_headroom"] is None


# --- what does not belong together


def test_other_problems_are_refused():
    cell = run(WHOLE).cell
    other = replace(WHOLE[cell], test=answered([1] * 60, digest="others"))
    with pytest.raises(InputError, match=r"fine/start/model and fine/dpca/test-lr0\.0003-seed0 answered other test"):
        results({**WHOLE, cell: other})


@pytest.mark.parametrize("correct", [[1] * 59, [1] * 61])
def test_other_numbers_of_problems_are_refused(correct):
    cell = run(WHOLE).cell
    way_out = "--again 'fine/start/model' or --again 'fine/dpca/test-lr0.0003-seed0'"
    with pytest.raises(InputError, match=f"answered other test problems, .* {way_out}"):
        results({**WHOLE, cell: with_answers(WHOLE[cell], correct)})


@pytest.mark.parametrize("digits", ["", "x" * 60, "2" * 60])
def test_damaged_answers_are_refused(digits):
    cell = run(WHOLE).cell
    damaged = replace(WHOLE[cell].test, correct=digits)
    with pytest.raises(InputError, match=r"seed0 is done but lacks answers to test problems, .* --again '.*seed0'"):
        results({**WHOLE, cell: replace(WHOLE[cell], test=damaged)})


@pytest.mark.parametrize(("stage", "kind"), [("tune", "validation"), ("test", "test")])
def test_a_finished_cell_without_answers_is_refused(stage, kind):
    cell = next(cell for cell in WHOLE if cell.stage == stage)
    with pytest.raises(InputError, match=f"lacks answers to {kind} problems"):
        results({**WHOLE, cell: replace(WHOLE[cell], **{kind: None})})


def test_cells_of_other_arenas_are_left_out():
    stranger = Cell("else", "dpca", "test", 3e-4, 0)
    other_rate = Cell("fine", "dpca", "test", 1e-4, 0)
    outcomes = {**WHOLE, **{cell: replace(run(WHOLE), cell=cell) for cell in (stranger, other_rate)}}
    assert results(outcomes)["rows"] == results()["rows"]


# --- curves, costs to reach, versions


def test_the_mean_curve_has_the_steps_that_all_runs_have():
    cell = run(WHOLE).cell
    shorter = {**WHOLE, cell: replace(WHOLE[cell], curve=WHOLE[cell].curve[:3])}
    assert [point["step"] for point in row(results(shorter))["curve"]] == [0, 10, 20]
    found = row(results())["curve"]
    assert [point["step"] for point in found] == [0, 10, 20, 30, 40]
    assert [point["responses"] for point in found] == [step * RESPONSES for step in (0, 10, 20, 30, 40)]
    means = [run(WHOLE, seed=seed).curve[2]["mean"] for seed in range(5)]
    assert (found[2]["mean"], found[2]["ci"]) == (
        pytest.approx(np.mean(means)),
        pytest.approx([mean_interval(means).low, mean_interval(means).high]),
    )
    assert found[2]["n"] == 5


def test_runs_without_a_curve():
    outcomes = {cell: replace(outcome, curve=[]) for cell, outcome in WHOLE.items()}
    found = row(results(outcomes))
    assert (found["curve"], found["reach"], found["seconds_per_step"]) == ([], None, None)


def curved(means, seed=0):
    points = [{"step": 10 * at, "mean": mean, "flops": 1000 * at, "seconds": 2.0 * at} for at, mean in enumerate(means)]
    return replace(run(WHOLE, seed=seed), curve=points, responses=640)


def reach_of(*curves):
    """Of seeds with these curves, the last step being the 640th response."""
    arena = arena_file(seeds=list(range(len(curves))), reach=0.75)
    outcomes = simulated(arena, num_problems=60)
    for seed, means in enumerate(curves):
        outcome = curved(means)
        cell = run(outcomes, seed=seed).cell
        outcomes[cell] = replace(outcomes[cell], curve=outcome.curve, responses=640)
    return row(results(outcomes, arena))["reach"]


def test_cost_to_reach_by_hand():
    """Half of the way from 0.5 to 1.0 within step 10 of 20, and exactly at step 20."""
    found = reach_of([0.5, 1.0, 1.0], [0.5, 0.5, 0.75])
    assert (found["state"], found["num_runs"], found["num_reached"]) == ("reached", 2, 2)
    assert found["responses"]["mean"] == pytest.approx((0.5 * 320 + 640) / 2)
    assert found["flops"]["mean"] == pytest.approx((500 + 2000) / 2)
    assert found["seconds"]["mean"] == pytest.approx((1.0 + 4.0) / 2)
    assert found["student_tokens"] is None  # the curve does not tell
    assert found["responses"]["n"] == 2


def test_what_is_not_reached_is_no_number():
    some = reach_of([0.5, 1.0, 1.0], [0.5, 0.5, 0.7499])
    assert (some["state"], some["num_reached"], some["responses"]) == ("reached by some", 1, None)
    none = reach_of([0.5, 0.6, 0.7], [0.5, 0.5, 0.5])
    assert (none["state"], none["num_reached"], none["flops"]) == ("not reached", 0, None)


def test_what_the_start_reaches_costs_nothing():
    assert reach_of([0.75, 0.5, 0.5])["responses"]["mean"] == 0.0


def test_a_point_that_falls_below_later_has_still_reached():
    assert reach_of([0.5, 1.0, 0.1])["responses"]["mean"] == pytest.approx(160)


def test_rules_tell_the_file_and_the_versions():
    cell = run(WHOLE).cell
    mixed = {**WHOLE, cell: replace(WHOLE[cell], versions={"torch": "2.12.0"})}
    rules = results(mixed)["rules"]
    assert rules["versions"] == {"crossdistill": ["0.1.0"], "torch": ["2.12.0", "2.13.0"]}
    assert rules["file"]["reference"] == "dpca"
    assert rules["digest"] == results()["rules"]["digest"]
    assert rules["digest"] != results({}, arena_file(reach=0.8))["rules"]["digest"]
