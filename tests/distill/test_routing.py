"""Which teachers judge a row, by a column, a rule or weights; what names none is refused."""

import pytest

from crossdistill import InputError
from crossdistill.distill.routing import Routing
from crossdistill.objectives import get

TWO = ("math", "code")
SUM = {"prompt": "What is 2 + 3?"}
CODE = {"prompt": [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "def f(x): ..."}]}


def test_one_teacher_judges_all():
    assert Routing(("only",)).of({"prompt": "x"}) == {"only": 1.0}
    assert not Routing(("only",)).takes_column


def test_the_column_names_one():
    routing = Routing(TWO)
    assert routing.takes_column
    assert routing.of({**SUM, "teacher": "code"}) == {"code": 1.0}
    for row, said in (({**SUM, "teacher": "art"}, "'art'"), (SUM, "None")):
        with pytest.raises(InputError, match=f"the column 'teacher' says {said}, which is not one .* math, code"):
            routing.of(row)


def test_the_first_rule_that_is_found_decides():
    routing = Routing(TWO, rules={"code": r"\bdef\b", "math": r"\d"})
    assert routing.of(SUM) == {"math": 1.0}
    assert routing.of(CODE) == {"code": 1.0}
    assert routing.of({"prompt": "def f(): return 3"}) == {"code": 1.0}
    assert routing.of({**SUM, "teacher": "code"}) == {"math": 1.0}  # rules take no column
    with pytest.raises(InputError, match="no rule matches the prompt 'Hello': add a last one"):
        routing.of({"prompt": "Hello"})
    assert Routing(TWO, rules={"code": "def", "math": ""}).of({"prompt": "Hello"}) == {"math": 1.0}


def test_weights_are_shares():
    assert Routing(TWO, weights={"math": 3, "code": 1}).of(SUM) == {"math": 0.75, "code": 0.25}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": {"art": ""}}, "teacher_rules names 'art', which is not one of the teachers: math, code"),
        ({"weights": {"art": 1}}, "teacher_weights names 'art'"),
        ({"rules": {"math": "("}}, "the rule of teacher 'math', '\\(', is not a regular expression"),
        ({"weights": {"math": 0}}, "teacher_weights gives 'math' 0: a weight is a finite number above 0"),
        ({"weights": {"math": float("nan")}}, "a weight is a finite number"),
        ({"rules": {"math": ""}, "weights": {"code": 1}}, "exclude each other"),
    ],
)
def test_what_means_nothing_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        Routing(TWO, **options)


def test_rows_are_checked_with_their_number():
    rows = [{**SUM, "teacher": "math"}, {**SUM, "teacher": "mth"}]
    with pytest.raises(InputError, match="row 1: the column 'teacher' says 'mth'"):
        Routing(TWO).check(rows, get("dpca"))
    Routing(("only",)).check(rows, get("dpca"))


def test_weights_need_an_objective_that_mixes():
    routing = Routing(TWO, weights={"math": 1, "code": 1})
    routing.check([], get("dpca"))
    routing.check([], None)
    with pytest.raises(InputError, match="objective 'simct' learns from one teacher a response"):
        routing.check([], get("simct"))
