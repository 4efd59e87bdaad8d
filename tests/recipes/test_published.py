"""The paper's figures as we copied them agree with each other, as printed there."""

import pytest

from recipes.paper.published import published

ROWS = [(pair, method) for pair, methods in published().scores.items() for method in methods]


@pytest.mark.parametrize(("pair", "method"), ROWS)
def test_each_average_is_that_of_its_row(pair, method):
    *row, average = published().scores[pair][method]
    assert len(row) == len(published().benchmarks) == len(published().titles) == 6
    assert average == pytest.approx(sum(row) / 6, abs=0.0501)


@pytest.mark.parametrize("pair", ["qwen", "llama"])
def test_gains_are_differences_of_the_scores(pair):
    scores, gains = published().scores[pair], published().gains[pair]
    found = [after - before for after, before in zip(scores["opd"], scores["sft"], strict=True)]
    assert list(gains) == pytest.approx(found, abs=0.0501)


def test_the_compute_figures_are_those_of_the_tables():
    found = published()
    assert found.sft[400_000] == found.scores["llama"]["sft"][0]
    assert found.opd[20_000] == found.scores["llama"]["opd"][0]
    assert 100 * 20_000 / found.sft_extrapolated == pytest.approx(found.data_share, abs=0.05)
    assert found.sft_extrapolated / 20_000 == pytest.approx(found.efficiency, abs=0.05)
