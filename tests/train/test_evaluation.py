"""Each row of the evaluation data counts once, whatever the size of a batch and the number of processes."""

from types import SimpleNamespace

import pytest
from torch.utils.data import SequentialSampler

from tests.models import MESSAGES
from tests.train.harness import make_trainer, rows

_TIMES, _OF_TRL = ("runtime", "_second", "_time"), "completions/"


@pytest.fixture(scope="module")
def trainer(pair, tmp_path_factory):
    return make_trainer(pair, tmp_path_factory.mktemp("evaluation"), top_k=1, num_iterations=1)


def evaluated(trainer, prompts, batch):
    """The metrics that this project computes."""
    trainer.args.per_device_eval_batch_size = batch
    metrics = trainer.evaluate(rows(prompts))
    return {name: value for name, value in metrics.items() if not name.endswith(_TIMES) and _OF_TRL not in name}


def assert_same(metrics, others):
    assert metrics.keys() == others.keys() >= {"eval_loss", "eval_teacher_gap_se", "eval_entropy"}
    for name, value in metrics.items():
        assert value == pytest.approx(others[name], rel=1e-4), name


def test_a_last_batch_of_fewer_rows_weighs_as_much_as_its_rows(trainer):
    assert_same(evaluated(trainer, MESSAGES[:5], 5), evaluated(trainer, MESSAGES[:5], 2))


def test_padding_counts_for_nothing(trainer, monkeypatch):
    """Three rows as two processes would see them, one after the other: the last one has padding alone."""
    monkeypatch.setattr(trainer, "_get_eval_sampler", SequentialSampler)
    expected = evaluated(trainer, MESSAGES[:3], 3)
    counts = iter([2, 1, 0])
    monkeypatch.setattr(trainer, "num_counted", lambda num_rows: next(counts))
    assert_same(expected, evaluated(trainer, [*MESSAGES[:3], MESSAGES[4], *MESSAGES[:2]], 2))


@pytest.mark.parametrize(
    ("remainder", "counted"), [(0, [2, 2, 2]), (1, [1, 0, 0]), (2, [2, 0, 0]), (3, [2, 1, 0]), (5, [2, 2, 1])]
)
def test_the_last_batch_is_padded_after_its_rows(trainer, monkeypatch, remainder, counted):
    """Three processes with two rows each."""
    at_end = SimpleNamespace(end_of_dataloader=True, remainder=remainder)
    found = []
    for index in range(3):
        monkeypatch.setattr(trainer, "accelerator", SimpleNamespace(gradient_state=at_end, process_index=index))
        trainer.model.eval()
        found.append(trainer.num_counted(2))
        at_end.end_of_dataloader = False
        assert trainer.num_counted(2) == 2
        at_end.end_of_dataloader = True
        trainer.model.train()
        assert trainer.num_counted(2) == 2
    assert found == counted
