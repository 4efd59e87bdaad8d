"""The contract of a teacher, and its defaults, with a teacher that is neither local nor served."""

import math
import subprocess
import sys

import numpy as np
import pytest

import crossdistill.teachers
from crossdistill import ByteVocab, InputError
from crossdistill.signal import Signal
from crossdistill.teachers import LocalTeacher, Teacher, TeacherRequest, TeacherScore, check_teacher
from tests.tokenizers_in_process import build


class Uniform(Teacher):
    """The example of the class's docstring."""

    def __init__(self, tokenizer, vocab):
        self.tokenizer, self.vocab, self.stop_ids = tokenizer, vocab, (tokenizer.eos_token_id,)

    def score(self, requests, signal=Signal.SAMPLED, top_k=0):
        nats = -math.log(len(self.vocab))
        return [
            TeacherScore(np.full(len(r.response_ids), nats, np.float32), nats if r.stopped else None) for r in requests
        ]


class Forgetful(Uniform):
    def __init__(self):
        self.tokenizer = build("gpt2")


@pytest.fixture(scope="module")
def uniform():
    tokenizer = build("gpt2")
    return Uniform(tokenizer, ByteVocab.from_tokenizer(tokenizer, 330))


def test_defaults(uniform):
    assert check_teacher(uniform) is uniform
    assert (uniform.signal, uniform.max_top_k, uniform.max_length) == (Signal.SAMPLED, None, None)
    assert (uniform.temperature, uniform.num_params, uniform.is_remote, uniform.can_write) == (1.0, 0, False, False)
    assert (uniform.usage(), uniform.identity()) == ({}, {})
    uniform.set_deadline(1.0)
    uniform.close()
    assert uniform.score([TeacherRequest([1], [2, 3], True)])[0].stop_logprob == -math.log(330)
    with pytest.raises(NotImplementedError):
        uniform.write(["Hello"], 4, 0.0, seed=0, first_row=0)


def test_a_fixed_temperature(uniform):
    uniform.set_temperature(1.0)
    with pytest.raises(InputError, match=r"temperature 1, not 0\.5: set temperature = 1, or use a local teacher"):
        uniform.set_temperature(0.5)


def test_identity(uniform):
    assert uniform.difference({}) is None
    assert uniform.difference({"version": 2}) is not None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "an object of type int, which is not a teacher: give an instance of a subclass of crossdistill.teachers"),
        ("gpt2", "an object of type str, which is not"),
        (Uniform, r"the class tests\.teachers\.test_base\.Uniform, which is not a teacher: give an instance"),
        (Forgetful(), r"type tests\.teachers\.test_base\.Forgetful without vocab, stop_ids: set that in __init__"),
    ],
)
def test_what_is_not_a_teacher_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        check_teacher(given)


def test_every_exported_name_is_there():
    pytest.importorskip("tenacity")
    assert all(getattr(crossdistill.teachers, name).__name__ == name for name in crossdistill.teachers.__all__)
    assert issubclass(LocalTeacher, Teacher)
    assert issubclass(crossdistill.teachers.ServedTeacher, Teacher)
    with pytest.raises(AttributeError, match="has no attribute 'Teecher'"):
        _ = crossdistill.teachers.Teecher


@pytest.mark.slow
def test_asking_for_the_contract_alone_loads_no_http_client():
    pytest.importorskip("tenacity")
    program = """
import sys
sys.modules["trl"] = sys.modules["transformers"] = None
from crossdistill.teachers import Teacher, TeacherRequest, TeacherScore, WrittenResponse
print(sorted({"httpx", "tenacity", "pydantic", "crossdistill.objectives"} & set(sys.modules)))
from crossdistill.teachers import LocalTeacher, ServedOptions, ServedTeacher
print("httpx" in sys.modules, [name for name in sys.modules if name.startswith("crossdistill.objectives")])
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["[]", "True []"]
