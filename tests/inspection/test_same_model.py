"""A copy of the student as its teacher."""

import shutil
from pathlib import Path

import pytest

from crossdistill.demo.run import asset
from crossdistill.errors import InputError
from crossdistill.inspection.model_files import read_pair

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
