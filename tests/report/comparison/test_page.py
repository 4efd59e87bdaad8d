"""The page and the words of a comparison."""

from dataclasses import replace

from crossdistill.eval.comparison.comparison import compare
from crossdistill.eval.comparison.contender import Contender
from crossdistill.eval.comparison.outcomes import Outcomes
from crossdistill.eval.comparison.reach import Point
from crossdistill.eval.interval import Estimate
from crossdistill.report.comparison.page import write_comparison_page
from crossdistill.report.comparison.rows import cells, p_value, reach_tables, statements
from tests.eval.comparison.factory import entry
from tests.report.test_html import Page

ATTACK = '"><script>alert(1)</script>'


def contender(name, right, curve=()):
    correct = {f"{number:03d}": [number < right] for number in range(100)}
    outcomes = Outcomes.from_entry("sums", name, entry(correct), "eval.json")
    points = tuple(Point(accuracy, None, {"step": step}) for step, accuracy in curve)
    return Contender(name, (outcomes,), (points,) if points else ())


def comparison(**options):
    first, second = contender("base", 50), contender("method", 70, [(0, 0.5), (10, 0.7)])
    return compare([first, second, contender("teacher", 90)], "base", **options)


def test_the_cells_of_a_row():
    base, method, teacher = map(cells, comparison(teacher="teacher").rows)
    assert base[:3] == ("base", "50.0", "40.4 to 59.6")  # Wilson's interval
    assert base[3:] == ("–", "–", "–", "baseline", "–", "–")
    assert (method[0], method[3], method[5], method[6], method[7]) == ("method", "+20.0", "< 0.001", "better", "50.0")
    assert teacher[7:] == ("–", "–")


def test_an_unbounded_recovery_is_said():
    (_, row, _) = comparison(teacher="teacher").rows
    unbounded = replace(row, recovery=Estimate(2.0, -0.5, float("inf"), 100))
    assert cells(unbounded)[-2:] == ("200.0", "−50.0 to unbounded")


def test_statements():
    said = " ".join(statements(comparison(teacher="teacher")))
    assert "100 problems, one sample of each" in said
    assert "McNemar's exact test, corrected by Holm for 2 comparisons" in said
    assert "The gap to teacher is +40.0 points" in said
    none = compare([contender("base", 50), contender("teacher", 50)], "base", teacher="teacher")
    assert "There is no headroom: teacher minus base is 0.0 points (0.0 to 0.0; p 1.000)" in " ".join(statements(none))


def test_p_values_are_never_rounded_to_nothing():
    assert [p_value(value) for value in (0.0, 0.00099, 0.001, 0.5, 1.0)] == [
        "< 0.001",
        "< 0.001",
        "0.001",
        "0.500",
        "1.000",
    ]


def test_costs():
    (first, second) = reach_tables(comparison(reach=[0.6, 0.8]))
    assert first.rows == [("method", "yes", "5", "–", "–", "–")]
    assert second.rows == [("method", "not reached", "–", "–", "–", "–")]


def test_the_page_loads_nothing_and_a_name_cannot_write_it(tmp_path):
    pair = [contender(ATTACK, 50, [(0, 0.4), (10, 0.5)]), contender("$x_1$", 70, [(0, 0.4), (10, 0.7)])]
    found = compare(pair, ATTACK, reach=[0.5])
    write_comparison_page(tmp_path / "page.html", [found, replace(found, task="more")])
    page = Page(tmp_path / "page.html")
    assert page.tags["script"] == page.tags["img"] == page.tags["link"] == 0
    assert ATTACK in page.text
    assert "$x_1$" in page.text
    assert page.tags["figure"] == 2
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {value.removeprefix("#") for value in page.values("href")} <= set(ids)


def test_a_page_without_curves(tmp_path):
    write_comparison_page(tmp_path / "page.html", [compare([contender("a", 50), contender("b", 60)], "a")])
    page = Page(tmp_path / "page.html")
    assert page.tags["figure"] == 0
    assert "+10.0" in page.text
