"""Which conversations hold earlier answers, and which of these a template changes."""

from types import SimpleNamespace

from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill import Rollout
from crossdistill.train.monitor.histories import HistoryCounts, all_teachers, history_counts
from tests.chat import templates as t

QUESTION = [{"role": "user", "content": "?"}]
HISTORY = [*QUESTION, {"role": "assistant", "content": " spaced "}, *QUESTION]
STRIPS, KEEPS, REFUSES = (
    PromptRenderer(t.with_template(template), {}, []) for template in (t.STRIPS, t.CHATML, "{{ raise_exception('?') }}")
)


def counts(prompts, student, teachers, turns=None, names=None):
    """Of a batch whose turns stand behind `turns` (each prompt alone, if left out) and were scored by `names`."""
    turns = turns or prompts
    responses = [
        SimpleNamespace(prompt=prompt, teacher_name=name, others=())
        for prompt, name in zip(turns, names or ["teacher"] * len(turns), strict=True)
    ]
    rollout = Rollout.of(prompts, [[1]] * len(prompts), [[2]] * len(prompts))
    return history_counts(SimpleNamespace(rollout=rollout, responses=responses), student, teachers)


def test_each_side_is_counted_by_its_own_template():
    prompts = [HISTORY, QUESTION, "a text"]
    assert counts(prompts, KEEPS, {"teacher": STRIPS}) == {"teacher": HistoryCounts(1, 1, 0, 1)}
    assert counts(prompts, STRIPS, {"teacher": KEEPS}) == {"teacher": HistoryCounts(1, 1, 1, 0)}
    # what a template refuses is counted under teacher_template
    assert counts(prompts, KEEPS, {"teacher": REFUSES}) == {"teacher": HistoryCounts(1, 1, 0, 0)}


def test_the_students_own_earlier_turns_are_history_to_the_teacher_alone():
    turns = [QUESTION, [*QUESTION, {"role": "assistant", "content": "turn 0"}, {"role": "tool", "content": "4"}]]
    assert counts([QUESTION], KEEPS, {"teacher": KEEPS}, turns) == {"teacher": HistoryCounts(0, 1, 0, 0)}


def test_several_teachers_read_their_own_and_the_student_counts_once():
    found = counts([HISTORY, HISTORY, QUESTION], STRIPS, {"a": KEEPS, "b": STRIPS}, names=["a", "b", "b"])
    assert found == {"a": HistoryCounts(2, 1, 2, 0), "b": HistoryCounts(2, 1, 2, 1)}
    assert all_teachers(found) == HistoryCounts(2, 2, 2, 1)
