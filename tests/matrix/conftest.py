"""The real tokenizers, loaded once. Nothing is loaded unless a test asks for them."""

from collections.abc import Iterator

import pytest

from tests.matrix.loading import Real, load_all
from tests.matrix.truth import Rewriter, rewriter_of


@pytest.fixture(scope="session")
def reals() -> Iterator[dict[str, Real]]:
    """Every tokenizer by name, read and verified; the cache is off, so the times include reading."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROSSDISTILL_CACHE", "off")
        found = load_all()
        for real in found.values():
            assert len(real.vocab) >= len(real.pieces)
        yield found


@pytest.fixture(scope="session")
def rewriters(reals: dict[str, Real]) -> dict[str, Rewriter]:
    return {name: rewriter_of(real) for name, real in reals.items()}
