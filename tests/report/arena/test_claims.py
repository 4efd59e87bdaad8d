"""The table of claims: a row for each claim and pair, with the verdict of the method that is said to be better."""

import io

from rich.console import Console

from crossdistill.arena.results import arena_results
from crossdistill.report.arena.claims import claims_table
from crossdistill.report.arena.markdown import arena_markdown
from crossdistill.report.arena.page import write_arena_page
from crossdistill.report.arena.terminal import print_arena
from tests.arena.simulator import arena_file, simulated, without
from tests.report.arena.content import whole

CLAIMS = [
    {"claim": "OPD beats SFT", "better": "dpca", "worse": "sft", "source": "a paper"},
    {"claim": "CDM beats OPD", "better": "cdm", "worse": "dpca"},
]


def content(*missing: str):
    arena = arena_file(claims=CLAIMS)
    outcomes = without(simulated(arena, num_problems=60), *missing)
    return arena_results(arena, outcomes, "arena.toml", "runs/arena")


def test_a_row_for_each_claim_and_pair():
    rows = [line.cells for line in claims_table(content()).methods]
    assert [(*cells[:3], cells[-1]) for cells in rows] == [
        ("OPD beats SFT", "dpca − sft", "fine", "win"),
        ("", "", "coarse", "win"),
        ("CDM beats OPD", "cdm − dpca", "fine", "loss"),
        ("", "", "coarse", "loss"),
    ]
    assert [line.tone for line in claims_table(content()).methods] == ["rise", "rise", "fall", "fall"]


def test_figures_are_in_points():
    [first, *_] = content()["claims"][0]["verdicts"]
    shown = claims_table(content()).methods[0].cells
    assert shown[3] == f"{100 * first['difference']['mean']:+.1f}"
    assert shown[5] == "< 0.001" or float(shown[5]) > 0


def test_a_claim_whose_runs_are_missing_is_not_run():
    cells = claims_table(content("coarse/sft/test-lr0.001-seed3")).methods[1].cells
    assert cells[2:] == ("coarse", "–", "–", "–", "not run")


def test_every_reader_sees_them(tmp_path):
    console = Console(file=io.StringIO(), width=120)
    print_arena(console, content())
    write_arena_page(tmp_path / "page.html", content())
    for shown in (console.file.getvalue(), arena_markdown(content()), (tmp_path / "page.html").read_text()):
        assert "CDM beats OPD" in shown
    assert "claims" not in arena_markdown(whole())  # a file without claims has no table of them
