"""Every tokenizer as a teacher, and one of them as the student."""

from typing import Any

import numpy as np
import pytest

from crossdistill import ByteVocab
from crossdistill.chat import ensure_template
from tests.distill.fake_teacher import FakeTeacher
from tests.tokenizers_in_process import NAMES, build

TEXTS = ("The quick brown fox", "12 + 30 = 42", "naïve café 你好")


@pytest.fixture(scope="module")
def sides(vocabs) -> dict[str, tuple[Any, ByteVocab]]:
    made = {}
    for name in NAMES:
        tokenizer = build(name)
        ensure_template(tokenizer)
        made[name] = (tokenizer, vocabs[name])
    return made


@pytest.fixture(scope="module")
def student(vocabs) -> ByteVocab:
    return vocabs["gpt2"]


@pytest.fixture(scope="module")
def special(student) -> tuple[int, int]:
    """(a control token, the stop token)."""
    control, stop = np.flatnonzero(student.lengths == 0).tolist()
    return control, stop


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build("gpt2")


@pytest.fixture(scope="module")
def completions(tokenizer: Any) -> list[list[int]]:
    vocab = ByteVocab.from_tokenizer(tokenizer)
    return [[*vocab.encode(text).ids.tolist(), tokenizer.eos_token_id] for text in TEXTS]


@pytest.fixture
def teachers(sides: Any) -> dict[str, FakeTeacher]:
    return {"a": FakeTeacher(*sides["gemma"]), "b": FakeTeacher(*sides["qwen"])}
