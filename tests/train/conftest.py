"""Fixtures of the trainer's tests."""

from typing import Any

import pytest


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is loaded fails the test: what it is about is checked before weights are read."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("crossdistill.train.loading.load_model", refuse)
