"""Objectives by name."""

import pytest

from crossdistill import InputError
from crossdistill.objectives import available, get
from crossdistill.objectives.dpca import DPCA


def test_names_are_sorted_and_each_gives_its_objective():
    assert list(available()) == sorted(available())
    assert "dpca" in available()
    assert {name: get(name).name for name in available()} == {name: name for name in available()}


def test_options_reach_the_objective():
    assert get("dpca", clip_low=0.1, credit="last") == DPCA(clip_low=0.1, credit="last")
    assert get("dpca") == DPCA()


def test_an_unknown_name_is_refused_with_the_names_that_exist():
    with pytest.raises(InputError, match=r"there is no objective 'dcpa'; choose one of .*dpca"):
        get("dcpa")


def test_an_unknown_option_is_refused_with_the_options_that_exist():
    with pytest.raises(InputError, match="objective 'dpca' has no option 'clip'; it takes credit, clip_low, clip_high"):
        get("dpca", clip=0.2)


def test_constants_of_the_class_are_no_options():
    with pytest.raises(InputError, match="objective 'dpca' has no option 'signal'"):
        get("dpca", signal="dense")


def test_a_bad_value_is_refused():
    with pytest.raises(InputError, match="dual_clip must be > 1"):
        get("dpca", dual_clip=0.5)
