"""A teacher behind HTTP, and the environment that has verl."""

import os
from collections.abc import Iterator

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill.demo.run import asset
from tests.teacher_server import Scorer, TeacherServer


@pytest.fixture(scope="session")
def verl() -> str:
    """The Python of verl's environment."""
    python = os.environ.get("VERL_PYTHON")
    assert python, "set VERL_PYTHON, as `make test-verl` does"
    return python


@pytest.fixture
def server() -> Iterator[TeacherServer]:
    """The demo's teacher."""
    model = AutoModelForCausalLM.from_pretrained(asset("teacher"), dtype=torch.float32)
    with TeacherServer(Scorer(model, AutoTokenizer.from_pretrained(asset("teacher")))) as running:
        yield running
