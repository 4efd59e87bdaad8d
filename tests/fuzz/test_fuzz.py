"""The fuzzer itself: it is reproducible, it passes, and it finds a planted fault."""

import numpy as np
import pytest
from typer.testing import CliRunner

from crossdistill.align import alignment
from tests.fuzz.__main__ import app, draw
from tests.fuzz.cases import KINDS

SEED = 7


def test_seed_and_number_determine_a_case():
    cases = [(kind.name, arguments) for kind, arguments in (draw(SEED, index) for index in range(50))]
    assert cases == [(kind.name, arguments) for kind, arguments in (draw(SEED, index) for index in range(50))]
    assert cases != [(kind.name, arguments) for kind, arguments in (draw(SEED + 1, index) for index in range(50))]


def test_some_cases_of_every_kind_pass():
    result = CliRunner().invoke(app, ["--cases", "400", "--seed", str(SEED)])
    assert result.exit_code == 0, result.output
    assert "400 cases" in result.output
    assert all(kind.name in result.output for kind in KINDS)


def test_a_missed_boundary_is_found_and_minimised(monkeypatch):
    right = alignment._shared_ends

    def without_the_third(ends, marks, repeats):
        return (
            np.delete(right(ends, marks, repeats), [2])
            if len(right(ends, marks, repeats)) > 3
            else right(ends, marks, repeats)
        )

    monkeypatch.setattr(alignment, "_shared_ends", without_the_third)
    result = CliRunner().invoke(app, ["--cases", "400", "--seed", str(SEED)])
    assert result.exit_code == 1
    assert "boundaries" in result.output
    assert f"again: python -m tests.fuzz --seed {SEED} --first" in result.output
    reproducer = result.output.strip().splitlines()[-1]
    with pytest.raises(AssertionError):
        exec(reproducer)
    assert len(reproducer) < 200
