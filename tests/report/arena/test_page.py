"""The page of an arena."""

import pytest

from crossdistill.report.arena.charts import curve_charts, spark
from crossdistill.report.arena.matrix import matrix
from crossdistill.report.arena.page import write_arena_page
from crossdistill.report.charts import SERIES
from tests.report.arena.content import ATTACK, METHODS, empty, hostile, large, partial, whole
from tests.report.test_html import Page


def page_of(content, folder):
    write_arena_page(folder / "page.html", content)
    return Page(folder / "page.html")


def test_everything_is_on_the_page(tmp_path):
    content = partial()
    page = page_of(content, tmp_path)
    for row in content["rows"]:
        assert row["method"] in page.text
        if row["command"]:
            assert row["command"] in page.text
        if row["reason"]:
            assert row["reason"] in page.text
    for title in ("Who wins against whom", "Cost of a run", "Side effects", "Rates", "Without a result"):
        assert title in page.text
    assert content["rules"]["digest"][:12] in page.text
    assert page.tags["figure"] == 4  # methods and controls of two pairs


def test_the_page_loads_nothing_and_a_name_cannot_write_it(tmp_path):
    page = page_of(hostile(), tmp_path)
    assert page.tags["script"] == page.tags["img"] == page.tags["link"] == 0
    assert ATTACK.replace("/", "|") in page.text
    assert "$x_1$" in page.text
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {value.removeprefix("#") for value in page.values("href")} <= set(ids)


@pytest.mark.parametrize("make", [whole, large, empty])
def test_whole_large_and_empty_arenas_have_a_page(make, tmp_path):
    page = page_of(make(), tmp_path)
    assert page.tags["main"] == 1
    ids = page.values("id")
    assert len(ids) == len(set(ids))


def test_an_empty_arena_has_no_charts_and_all_commands(tmp_path):
    page = page_of(empty(), tmp_path)
    assert page.tags["figure"] == 0
    assert page.tags["pre"] == 2 * (2 + 6) + 1  # models and rows of two pairs, and the file


def test_at_most_six_curves_a_chart_the_best_first():
    charts = curve_charts(large(), "a-pair-with-a-long-name")
    names = [[entry.name for entry in legend] for _, legend in charts]
    # cdm diverged at every rate, and gold lacks a seed, so it comes after those that are whole
    assert names[0] == ["dpca", "dpca-with-marginal-credit", "bpm", "alm", "simct", "strict"]
    assert names[1] == ["gold"]
    assert len(names[2]) == 3
    assert [chart.title for chart, _ in charts] == ["methods, part 1 of 2", "methods, part 2 of 2", "controls"]
    assert all(len(legend) <= len(SERIES) for legend in names)
    assert [entry.colour for entry in charts[0][1]] == [f"var(--series{number})" for number in range(1, 7)]


def test_small_lines():
    assert spark([{"step": 0, "mean": 0.0}, {"step": 5, "mean": 0.25}, {"step": 20, "mean": 1.0}]) == (
        "M0.0,24.0 25.0,18.0 100.0,0.0"
    )
    assert spark([{"step": 0, "mean": 0.5}]) == "M0.0,12.0"


def test_the_matrix_is_mirrored():
    found = dict(matrix(whole(), "fine"))
    names = list(found)
    assert {*names} == {"dpca", "bpm", "cdm", "sft", "seqkd", "same_tokenizer"}
    for first in names:
        assert found[first][names.index(first)].text == ""
        for second in names:
            one, other = found[first][names.index(second)], found[second][names.index(first)]
            assert {one.tone, other.tone} in ({"rise", "fall"}, {"quiet"})
            assert one.text.startswith("▲") is other.text.startswith("▼")
    verdict = next(
        verdict for verdict in whole()["verdicts"] if (verdict["first"], verdict["second"]) == ("dpca", "cdm")
    )
    square = found["dpca"][names.index("cdm")]
    assert square.text == f"▲{100 * verdict['difference']['mean']:.1f}"
    assert square.title.startswith("win: +")


def test_the_matrix_of_what_is_missing():
    found = dict(matrix(partial(), "coarse"))
    names = list(found)
    assert "same_tokenizer" not in names  # it cannot be run
    assert found["dpca"][names.index("bpm")].text == "·"
    assert found["dpca"][names.index("bpm")].title == "not run: bpm: missing of 5 seeds: 3"
    assert found["cdm"][names.index("dpca")].text == "×"
    assert found["cdm"][names.index("dpca")].title.startswith("failed: cdm: rate 0.0001 diverged")


def test_all_methods_are_named_once_in_the_matrix():
    assert {name for name, _ in matrix(large(), "a-pair-with-a-long-name")} >= {*METHODS}
