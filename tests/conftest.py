"""Session fixtures: the in-process tokenizers and their byte vocabularies, by name; the tiny pair of models."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from transformers import PreTrainedTokenizerFast

from crossdistill import ByteVocab
from tests.models import Pair, save_pair
from tests.tokenizers_in_process import NAMES, build

settings.register_profile("dev", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.register_profile("thorough", settings.get_profile("dev"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    return {name: build(name) for name in NAMES}


@pytest.fixture(scope="session")
def vocabs(tokenizers: dict[str, PreTrainedTokenizerFast]) -> dict[str, ByteVocab]:
    return {name: ByteVocab.from_tokenizer(tokenizer) for name, tokenizer in tokenizers.items()}


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return save_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """As from a terminal: tests that were begun in the background, and their processes, are deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
