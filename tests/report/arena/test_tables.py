"""The tables, sentences, terminal and Markdown of an arena."""

import io
import re

import pytest
from rich.console import Console

from crossdistill.arena.results import arena_results
from crossdistill.report.arena.markdown import arena_markdown
from crossdistill.report.arena.statements import about, explained, lacks, progress
from crossdistill.report.arena.tables import (
    costs_table,
    overall_table,
    pair_table,
    reached,
    rows_of,
    ruling,
    side_effects_table,
)
from crossdistill.report.arena.terminal import print_arena
from tests.arena.simulator import arena_file, simulated
from tests.report.arena.content import empty, hostile, large, partial, whole


def line(table, method):
    found = next(line for line in (*table.methods, *table.controls) if line.cells[0] == method)
    return dict(zip(table.columns, found.cells, strict=True))


def tone(table, method):
    return next(line.tone for line in (*table.methods, *table.controls) if line.cells[0] == method)


def printed(content, width=100):
    console = Console(file=io.StringIO(), width=width)
    print_arena(console, content)
    return console.file.getvalue()


def test_a_pairs_table():
    content = whole()
    table = pair_table(content, content["pairs"][0])
    row = next(row for row in content["rows"] if row["pair"] == "fine" and row["method"] == "dpca")
    found = line(table, "dpca")
    assert found["rate"] == "0.0003"
    assert found["seeds"] == "5"
    assert found["accuracy"] == f"{100 * row['mean']:.1f}"
    assert found["95 %"] == f"{100 * row['interval'][0]:.1f}–{100 * row['interval'][1]:.1f}"
    assert found["gap"] == f"{100 * row['gap_recovery']['mean']:.1f}"
    assert found["to 70 %"] == f"{row['reach']['responses']['mean']:.0f}"
    assert found["vs dpca"] == "reference"
    assert line(table, "cdm")["rate"] == "0.0001 ↓"
    assert line(table, "cdm")["to 70 %"] == "not reached"
    assert (line(table, "cdm")["vs dpca"], tone(table, "cdm")) == ("loss", "fall")
    assert tone(table, "dpca") == ""


def test_methods_that_were_run_with_one_seed_have_no_test_and_the_reason_is_told():
    arena = arena_file(seeds=[7])
    content = arena_results(arena, simulated(arena, num_problems=40), "arena.toml", "runs/arena")
    assert line(pair_table(content, content["pairs"][0]), "bpm")["vs dpca"] == "no test"
    assert line(overall_table(content), "bpm")["no verdict"] == "2"
    why = "no test: one seed does not tell how much seeds vary, so there is no verdict."
    assert why in " ".join(printed(content).split()) and why in arena_markdown(content)
    assert "no test" not in arena_markdown(whole())


def test_controls_stand_apart_with_the_models_around_them():
    table = pair_table(whole(), whole()["pairs"][0])
    assert sorted(row.cells[0] for row in table.methods) == ["bpm", "cdm", "dpca"]
    names = [row.cells[0] for row in table.controls]
    assert (names[0], names[-1], {*names[1:-1]}) == ("start", "teacher", {"sft", "seqkd", "same_tokenizer"})


def test_the_best_is_first_and_what_is_not_done_last():
    rows = rows_of(partial(), "coarse", "method")
    assert [row["method"] for row in rows] == ["dpca", "bpm", "cdm"]
    assert [row["status"] for row in rows] == ["done", "partial", "diverged"]
    done = rows_of(whole(), "coarse", "control")
    assert [row["mean"] for row in done] == sorted((row["mean"] for row in done), reverse=True)


def test_what_is_not_done_says_so_in_place_of_a_verdict():
    table = pair_table(partial(), partial()["pairs"][1])
    assert line(table, "bpm")["vs dpca"] == "partial"
    assert line(table, "bpm")["seeds"] == "4 of 5"
    assert (line(table, "cdm")["vs dpca"], line(table, "cdm")["accuracy"]) == ("diverged", "–")
    assert line(table, "same_tokenizer")["vs dpca"] == "not run"
    assert {tone(table, name) for name in ("bpm", "cdm", "same_tokenizer")} == {"quiet"}


def test_a_method_that_is_left_out_on_a_pair_is_said_in_one_sentence():
    content = {**whole(), "rows": [_left_out(row) for row in whole()["rows"]]}
    pair = content["pairs"][0]
    assert [row["method"] for row in rows_of(content, "fine", "method") if row["method"] == "bpm"] == []
    assert "Not entered on this pair: bpm." in explained(content, pair)
    assert "bpm" not in [lack.name for lack in lacks(content, pair)]
    assert "Not entered on this pair: bpm." not in explained(content, content["pairs"][1])


def _left_out(row):
    if (row["pair"], row["method"]) != ("fine", "bpm"):
        return row
    return {**row, "status": "not run", "command": None, "mean": None, "reason": "[methods.bpm] pairs leaves fine out"}


def test_rulings_are_read_from_either_side():
    content = {"verdicts": [{"pair": "fine", "first": "a", "second": "b", "verdict": "win"}]}
    assert (ruling(content, "fine", "a", "b"), ruling(content, "fine", "b", "a")) == ("win", "loss")
    assert ruling(content, "coarse", "a", "b") is None
    assert ruling(content, "fine", "a", "a") is None


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        (None, "–"),
        ({"state": "reached", "num_reached": 2, "num_runs": 2, "responses": {"mean": 1234.4}}, "1,234"),
        ({"state": "reached", "num_reached": 2, "num_runs": 2, "responses": None}, "–"),
        ({"state": "reached by some", "num_reached": 1, "num_runs": 2, "responses": None}, "1 of 2 seeds"),
        ({"state": "not reached", "num_reached": 0, "num_runs": 2, "responses": None}, "not reached"),
    ],
)
def test_costs_to_reach(entry, shown):
    assert reached(entry) == shown


def test_overall():
    table = overall_table(partial())
    assert line(table, "dpca")["wins"] == "reference"
    assert line(table, "cdm")["pairs"] == "0 of 2, 2 failed"
    assert line(table, "bpm")["pairs"] == "1 of 2"
    assert line(table, "bpm")["mean rank"] == "1.00 (1)"
    assert line(table, "cdm")["no verdict"] == "2"
    assert line(table, "sft")["mean rank"] == "–"
    assert [row.cells[0] for row in table.controls] == ["sft", "seqkd", "same_tokenizer"]


def test_costs_and_side_effects():
    content = whole()
    row = next(row for row in content["rows"] if row["pair"] == "fine" and row["method"] == "bpm")
    costs = costs_table(content, "fine")
    cells = next(line.cells for line in costs.methods if line.cells[0] == "bpm")
    assert len(cells) == len(costs.columns)
    assert cells[1:3] == (f"{row['responses']:,.0f}", f"{row['student_tokens']:,.0f}")
    effects = side_effects_table(content, content["pairs"][0])
    bits = row["side_effects"]["bits_per_byte"]
    assert line(effects, "bpm")["bits per byte"] == f"{bits['mean']:.3f} (+{bits['mean'] - 2.0:.3f})"
    assert line(effects, "start")["bits per byte"] == "2.000"


def test_sentences():
    content = whole()
    pair = content["pairs"][0]
    assert "60 test problems, one sample of each. The teacher is " in about(pair)
    said = " ".join(explained(content, pair))
    assert f"noise floor, {100 * pair['noise_floor']:.1f} points (the range of dpca over its seeds)" in said
    assert "by Holm for 15 comparisons" in said
    assert "↓ ↑" in said
    assert progress(content).startswith("100 cells: 98 done, 2 diverged")


def test_no_headroom_is_said():
    pair = {**whole()["pairs"][0], "has_headroom": False}
    assert "There is no headroom: teacher minus start is +" in about(pair)
    assert "so nothing can be gained here" in about(pair)
    assert "not both answered" in about(empty()["pairs"][0])


def test_everything_that_is_lacking_has_a_reason_and_a_command():
    found = {lack.name: lack for pair in partial()["pairs"] for lack in lacks(partial(), pair)}
    assert {name: lack.status for name, lack in found.items()} == {
        **{"cdm": "diverged", "sft": "not run", "bpm": "partial", "same_tokenizer": "not run"}
    }
    assert found["bpm"].command == "crossdistill arena arena.toml --output runs/arena --only 'coarse/bpm/*'"
    assert found["same_tokenizer"].command is None
    assert "names no same_tokenizer_teacher" in found["same_tokenizer"].reason
    assert lacks(whole(), whole()["pairs"][0]) == []


@pytest.mark.parametrize("make", [whole, partial, empty, large, hostile])
def test_the_terminal_is_at_most_100_columns_wide(make):
    content = make()
    text = printed(content)
    commands = {lack.command for pair in content["pairs"] for lack in lacks(content, pair)}
    assert [row for row in text.splitlines() if len(row) > 100 and row.strip() not in commands] == []
    for pair in content["pairs"]:
        idle = [lack for lack in lacks(content, pair) if lack.status == "not run" and lack.command]
        for lack in lacks(content, pair):
            if lack not in idle or len(idle) <= 4:  # else they are named together
                assert (lack.command or "") in text  # in one line, to be copied
    for row in content["rows"]:
        assert row["method"][:8] in text


def test_an_arena_that_has_just_begun_is_short_in_the_terminal():
    text = printed(empty())
    assert "not run: start, teacher, " in text and "--only" not in text
    assert "--only 'fine/start/*'" in arena_markdown(empty())


def test_the_usual_names_are_not_folded():
    for name in ("same_tokenizer", "multilevel_ot", "dpca"):
        text = printed({**whole(), "rows": [{**row, "method": name} for row in whole()["rows"]]})
        assert re.search(rf"^{name} ", text, re.MULTILINE)


@pytest.mark.parametrize("make", [whole, partial, empty, large, hostile])
def test_rows_of_markdown_have_as_many_cells_as_their_head(make):
    text = arena_markdown(make())
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1
    assert "<script>" not in text


def test_markdown_has_every_table():
    text = arena_markdown(partial(), level=3)
    titles = re.findall(r"^#+ .*$", text, re.MULTILINE)
    assert titles == [
        *("### fine (sums)", "#### cost", "#### side effects"),
        *("### coarse (sums)", "#### cost", "#### side effects"),
        "### all pairs, against dpca",
    ]
    assert "same\\_tokenizer: not run: \\[pairs.coarse] names no same\\_tokenizer\\_teacher" in text
    assert "\n\n    crossdistill arena arena.toml --output runs/arena --only 'coarse/bpm/*'\n\n" in text
