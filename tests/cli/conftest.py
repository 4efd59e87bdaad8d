"""The tiny pair, once a session."""

from pathlib import Path

import pytest

from tests.models import Pair, save_pair


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return save_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"
