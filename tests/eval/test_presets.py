"""Presets name tasks that there are."""

import pytest

from crossdistill.errors import InputError
from crossdistill.eval.presets import preset, presets
from crossdistill.eval.tasks import available


@pytest.mark.parametrize("name", presets())
def test_tasks_of_presets_exist(name):
    assert {*preset(name).tasks} <= {*available()}


def test_the_paper_has_six_benchmarks():
    tasks = preset("paper").tasks
    assert list(tasks) == ["aime24", "aime25", "aime26", "math500", "gpqa_diamond", "livecodebench"]
    assert {sampling.max_tokens for sampling in tasks.values()} == {16_384}


@pytest.mark.parametrize(("name", "hint"), [("papers", "did you mean 'paper'?"), ("zzz", r"give one of paper\.")])
def test_an_unknown_preset_is_refused(name, hint):
    with pytest.raises(InputError, match=f"^there is no preset '{name}': {hint}"):
        preset(name)
