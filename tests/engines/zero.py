"""The engines of DeepSpeed, for `pytest.mark.parametrize`."""

from importlib.util import find_spec

import pytest

NEEDED = pytest.mark.skipif(find_spec("deepspeed") is None, reason="make test-engines installs DeepSpeed")
ZERO = [pytest.param(name, marks=NEEDED) for name in ("zero2", "zero3")]
