"""Processes whose rows differ in length make the same number of passes, and the same step as in one pass.

FSDP2 gathers weights in every pass, so that one more in a single process would wait for ever.
"""

import pytest

from tests.engines.case import Case
from tests.engines.compare import difference
from tests.engines.launch import launch

pytestmark = [pytest.mark.slow, pytest.mark.long]


def test_cut_or_whole_is_the_same_step(tmp_path):
    cases = [
        Case(name, options={"micro_batch_tokens": tokens}) for name, tokens in {"whole": 100_000, "cut": 64}.items()
    ]
    outcomes = launch("fsdp2", 2, cases, tmp_path, timeout=240)
    found = difference(outcomes["whole"], outcomes["cut"])
    assert found.loss < 1e-5, found
    assert found.gradient < 1e-5, found
