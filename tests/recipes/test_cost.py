"""The forecast of the costs against products by hand."""

from pathlib import Path

import pytest

from crossdistill.demo.run import asset
from crossdistill.flops import ModelFlops
from crossdistill.runs.forecast import without_weights
from recipes.paper.cost import forecasts, lines
from recipes.paper.settings import Settings, read_settings
from tests.recipes.small import write_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(write_settings(tmp_path))


def test_each_part_is_counted_once(settings):
    found = {one.name: one for one in forecasts(settings)}
    sizes, assumed = settings.sizes, settings.cost
    student, teacher = (
        ModelFlops.of(without_weights(side, asset(side))).forward([assumed.tokens + assumed.prompt_tokens])
        for side in ("student", "teacher")
    )
    evaluated = assumed.eval_samples * student
    assert found["llama/sft"].training == sizes.sft_examples * 3 * student
    assert found["llama/alm-0"].training == sizes.samples * (3 * student + teacher)
    assert found["llama/opd-0"].training == sizes.samples * (4 * student + teacher)
    assert found["r1/sft"].training == 0  # is there already
    assert {one.evaluation for one in found.values()} == {evaluated}
    opd = sizes.samples * student * (3 / assumed.training + 1 / assumed.sampling) + evaluated / assumed.serving
    assert found["llama/opd-0"].gpu_hours == pytest.approx(opd / assumed.flops_per_second / 3600)
    read = sizes.samples * teacher / assumed.reading
    assert found["r1/opd-0"].teacher_hours == pytest.approx(read / assumed.flops_per_second / 3600)


def test_the_table_has_each_cell_and_their_sum(settings):
    table, assumptions = lines(settings)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert len(rows) == len(forecasts(settings)) + 1
    assert rows[-1][0] == "all"
    assert "responses of 8,000 tokens after prompts of 256" in assumptions
