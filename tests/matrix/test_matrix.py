"""Every ordered pair of real tokenizers over every case; writes docs/tokenizers.md. `make test-matrix`."""

import pytest

from tests.matrix.corpus import cases
from tests.matrix.loading import ROOT, Real
from tests.matrix.run import run
from tests.matrix.table import page

pytestmark = pytest.mark.matrix


def test_every_pair_finds_all_boundaries_and_no_other(reals: dict[str, Real]) -> None:
    """The page is written even if there are faults, to show them."""
    everything = cases()
    matrix = run(reals, everything)
    (ROOT / "docs" / "tokenizers.md").write_text(page(reals, matrix, len(everything)), encoding="utf-8")
    assert not matrix.faults, "\n".join([f"{len(matrix.faults)} faults", *matrix.faults[:20]])
    pairs = matrix.by(lambda key: f"{key.student} / {key.teacher}")
    assert len(pairs) == len(reals) ** 2
    assert all(both.ours.is_perfect and both.ours.true > 1000 for both in pairs.values())
