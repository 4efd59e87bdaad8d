"""Each row of the evaluation data counts once, whatever the size of a batch and the number of processes."""

from types import SimpleNamespace

import pytest
from datasets import IterableDataset
from torch.utils.data import SequentialSampler

from crossdistill.train.preflight.datasets import as_eval_data, as_read
from crossdistill.train.stream import Stream
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


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(
    ("remainder", "counted"), [(0, [2, 2, 2]), (1, [1, 0, 0]), (2, [2, 0, 0]), (3, [2, 1, 0]), (5, [2, 2, 1])]
)
def test_the_last_batch_is_padded_after_its_rows(trainer, monkeypatch, remainder, counted, is_streamed):
    """Three processes with two rows each."""
    state = SimpleNamespace(remainder=-1 if is_streamed else remainder)
    monkeypatch.setattr(trainer, "_eval_stream", SimpleNamespace(num_rows=12 + remainder) if is_streamed else None)
    found = []
    for index in range(3):
        process = SimpleNamespace(gradient_state=state, process_index=index, num_processes=3)
        monkeypatch.setattr(trainer, "accelerator", process)
        state.end_of_dataloader = True
        assert trainer.num_counted(2) == 2  # in training
        trainer.model.eval()
        found.append(trainer.num_counted(2))
        state.end_of_dataloader = False
        assert trainer.num_counted(2) == 2
        trainer.model.train()
    assert found == counted


def test_the_stream_that_is_evaluated_is_known(trainer, monkeypatch):
    streams = {name: IterableDataset.from_generator(lambda: iter(rows(MESSAGES[:3]))) for name in ("a", "b")}
    read = as_read(as_eval_data(streams))
    monkeypatch.setattr(trainer, "eval_dataset", read)
    trainer.get_eval_dataloader("b")
    assert trainer._eval_stream is Stream.behind(read["b"])
    monkeypatch.setattr(trainer, "eval_dataset", read["a"])
    trainer.get_eval_dataloader()
    assert trainer._eval_stream is Stream.behind(read["a"])
    trainer.get_eval_dataloader(rows())
    assert trainer._eval_stream is None
