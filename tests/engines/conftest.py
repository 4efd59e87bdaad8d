"""Students that several tests train, saved once."""

import pytest

from tests.engines.students import save_untied


@pytest.fixture(scope="session")
def untied(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A student whose output layer is not its input embedding."""
    return save_untied(tmp_path_factory.mktemp("engines") / "untied", noise=0.02)


@pytest.fixture(scope="session")
def of_one_vocabulary(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A teacher with the tokenizer of the demo's student."""
    return save_untied(tmp_path_factory.mktemp("engines") / "teacher", noise=0.1)
