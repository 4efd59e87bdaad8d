"""Groups of responses to one prompt, for objectives that compare whole responses with each other."""

from collections import Counter
from collections.abc import Sequence

from crossdistill.align import DropReason
from crossdistill.distill.background import Answers
from crossdistill.distill.response import AlignedResponse
from crossdistill.distill.rollout import Rollout
from crossdistill.errors import InputError
from crossdistill.objectives.base import Objective
from crossdistill.objectives.shared.response_groups import ResponseGroups
from crossdistill.teachers.base import TeacherScore


def check_groups(objective: Objective, rollout: Rollout) -> None:
    """Check that a rollout of an own loop holds what an objective compares.

    Raises:
        InputError: it compares responses to one prompt, and one is alone.
    """
    alone = [group for group, size in Counter(rollout.groups).items() if size == 1]
    if objective.compares_groups and alone:
        row = rollout.groups.index(alone[0])
        raise InputError(
            f"objective {objective.name!r} compares the responses to one prompt, and row {row} is alone: sample each "
            "prompt at least twice, and name the group of each row (groups=...)."
        )


def check_turns(objective: Objective, rollout: Rollout) -> None:
    """Check that the responses of a rollout are whole completions, as an objective that compares them needs.

    Raises:
        InputError: one is of several turns, between which tools were called.
    """
    if len(rollout.turns) != len(rollout.prompts):
        raise no_tools(objective)


def no_tools(objective: Objective) -> InputError:
    """The error for an objective that compares whole responses, and tools."""
    return InputError(
        f"objective {objective.name!r} compares whole responses, and with tools each turn is scored by itself: give no "
        "tools, or choose an objective that compares parts, such as dpca."
    )


def whole_groups(answers: Answers, aligned: Sequence[AlignedResponse], groups: Sequence[int]) -> Answers:
    """Answers of a teacher, without what cannot be compared: a response that is not scored whole leaves its group, and
    the last one of a group has none to be compared with. One that was sampled alone stays.

    Args:
        answers: one for each response.
        aligned: the responses.
        groups: of each.
    """
    sampled = Counter(groups)
    kept = [
        DropReason.INCOMPLETE
        if sampled[group] > 1 and isinstance(answer, TeacherScore) and not _is_whole(one, answer)
        else answer
        for answer, one, group in zip(answers, aligned, groups, strict=True)
    ]
    left = Counter(group for answer, group in zip(kept, groups, strict=True) if isinstance(answer, TeacherScore))
    return [
        DropReason.ALONE if isinstance(answer, TeacherScore) and left[group] == 1 < sampled[group] else answer
        for answer, group in zip(kept, groups, strict=True)
    ]


def scored_groups(answers: Answers, groups: Sequence[int]) -> list[ResponseGroups]:
    """The group of each response that a teacher scored, in order."""
    scored = [group for answer, group in zip(answers, groups, strict=True) if isinstance(answer, TeacherScore)]
    together = ResponseGroups.of(scored)
    return [together.select([place]) for place in range(len(scored))]


def _is_whole(aligned: AlignedResponse, score: TeacherScore) -> bool:
    """Whether every sampled token of a response has a part in the comparison; there is at least one."""
    response = aligned.response
    is_stop_scored = (response.stop_position is None) == (score.stop_logprob is None)
    has_all_bytes = len(aligned.student_positions) == len(response.text_positions)
    return bool(len(response.ids)) and not response.num_special and has_all_bytes and is_stop_scored
