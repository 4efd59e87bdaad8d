"""A student, or a copy of it, as its teacher."""

import shutil
from pathlib import Path

import pytest

from crossdistill.demo.run import asset
from crossdistill.errors import InputError
from crossdistill.inspection.model_pair import read_pair
from crossdistill.inspection.same_model import check_teachers

STUDENT = asset("student")


@pytest.fixture
def copy(tmp_path) -> Path:
    return Path(shutil.copytree(STUDENT, tmp_path / "copy"))


def test_a_copy_cannot_teach(copy):
    with pytest.raises(InputError, match=r"'.*copy' holds the same weights as the student '.*student', and reads"):
        read_pair(STUDENT, str(copy))


def test_other_weights_of_the_same_sizes_can(copy):
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert len(read_pair(STUDENT, str(copy))) == 2


def test_a_copy_that_is_shown_other_prompts_can(copy):
    assert len(read_pair(STUDENT, str(copy), None, {"documents": ["the answers"]})) == 2
    (copy / "chat_template.jinja").write_text(
        "Hint: add the tens first.\n" + (copy / "chat_template.jinja").read_text()
    )
    assert len(read_pair(STUDENT, str(copy))) == 2


def test_tokenizers_alone_are_no_copies(copy):
    (copy / "model.safetensors").unlink()
    assert len(read_pair(STUDENT, str(copy))) == 2


def test_a_student_is_not_its_only_teacher(copy):
    student = str(copy)
    for alike in (student, f"{student}/.", f"{student}/../copy"):
        with pytest.raises(InputError, match="name two models"):
            check_teachers(student, [alike])
    with pytest.raises(InputError, match="name two models"):
        check_teachers("org/student", ["org/student"])


def test_its_start_may_stand_beside_another_teacher_or_a_reward():
    check_teachers(STUDENT, [STUDENT, "org/teacher"])
    check_teachers(STUDENT, [STUDENT], is_rewarded=True)


def test_a_model_that_is_trained_is_never_a_teacher():
    student = object()
    for teachers, is_rewarded in (([student], False), ([student, "org/teacher"], False), ([student], True)):
        with pytest.raises(InputError, match="the same model object"):
            check_teachers(student, teachers, is_rewarded=is_rewarded)
    check_teachers(student, [object()])
