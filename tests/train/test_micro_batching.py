"""A step in micro-batches is the step in one pass: the unsplit pass is the reference."""

from typing import Any

import pytest
import torch

from crossdistill.ops import micro_batching as cuts
from crossdistill.ops.backbone import backbone_of
from tests.models import MESSAGES
from tests.train.harness import ONE_OF_A_CLASS, RecordingTrainer, fast_for, make_trainer, rows

WHOLE, ONE_ROW_AT_A_TIME = 1_000_000, 1


class Watched(RecordingTrainer):
    """Keeps what the student's backbone is given in every pass of training or scoring, generation aside."""

    def __init__(self, *args: Any, **kwargs: Any):
        self.passes: list[tuple[bool, torch.Tensor]] = []
        super().__init__(*args, **kwargs)
        backbone = backbone_of(self.accelerator.unwrap_model(self.model))
        backbone.register_forward_pre_hook(self._see, with_kwargs=True)

    def _see(self, module: Any, args: Any, kwargs: Any) -> None:
        if not kwargs["use_cache"]:
            self.passes.append((torch.is_grad_enabled(), kwargs["attention_mask"]))

    def of_training(self) -> list[torch.Tensor]:
        return [mask for has_gradient, mask in self.passes if has_gradient]

    def of_scoring(self) -> list[torch.Tensor]:
        return [mask for has_gradient, mask in self.passes if not has_gradient]


def trained(pair, output, tokens, **options):
    defaults = {
        "top_k": 1,
        "max_steps": 2,
        "num_iterations": 2,
        "gradient_accumulation_steps": 2,
        "micro_batch_tokens": tokens,
        "optim": "sgd",  # a step is the gradient
        "learning_rate": 0.05,
        "activation_checkpointing": False,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "trainer_options": {"eval_dataset": rows(MESSAGES[:4])},
    }
    trainer = make_trainer(pair, output, kind=Watched, **{**defaults, **options})
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def whole(pair, tmp_path_factory):
    return trained(pair, tmp_path_factory.mktemp("whole"), WHOLE)


@pytest.fixture(scope="module")
def cut(pair, tmp_path_factory):
    return trained(pair, tmp_path_factory.mktemp("cut"), ONE_ROW_AT_A_TIME)


def assert_same_run(one, other):
    assert len(one.weights) == len(other.weights)
    for ours, theirs in zip(one.weights, other.weights, strict=True):
        for name, value in ours.items():
            torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(one.rollouts, other.rollouts, strict=True):
        for response, twin in zip(ours, theirs, strict=True):
            assert response.response.ids.tolist() == twin.response.ids.tolist()
            assert response.student_logprobs == pytest.approx(twin.student_logprobs, abs=1e-5)
    for logged, twin in zip(one.state.log_history, other.state.log_history, strict=True):
        assert logged.keys() == twin.keys()
        for name in logged.keys() - {"policy_drift"}:
            if not any(part in name for part in ("time", "second")):
                assert logged[name] == pytest.approx(twin[name], rel=1e-3, abs=1e-5), name
        assert logged.get("policy_drift", 0) < 1e-5


def test_cut_or_whole_is_the_same_run(whole, cut):
    assert [len(mask) for mask in whole.of_training()] == [4] * 4
    assert [len(mask) for mask in cut.of_training()] == [1] * 16
    assert_same_run(whole, cut)
    assert whole.usage.as_dict()["tokens"] == cut.usage.as_dict()["tokens"]


def test_rows_of_similar_length_run_together(whole):
    lengths = [mask.sum(1).tolist() for mask in whole.of_training()]
    for first, second in zip(lengths[::2], lengths[1::2], strict=True):
        assert [*first, *second] == sorted([*first, *second], reverse=True)
    assert all(mask.shape[1] == mask.sum(1).max() for mask in [*whole.of_training(), *whole.of_scoring()])


def test_long_rows_are_not_padded(pair, output, monkeypatch, whole, cut):
    """Padding is what takes a mask of all pairs of positions, whose memory is quadratic."""
    monkeypatch.setattr(cuts, "LONGEST_PADDED", 0)
    trainer = trained(pair, output, WHOLE)
    assert all(mask.all() for _, mask in trainer.passes)
    assert not all(mask.all() for _, mask in whole.passes)
    assert len(trainer.passes) < len(cut.passes)  # rows of one length run together
    assert_same_run(whole, trainer)


@pytest.mark.parametrize("objective", fast_for(["alm", *ONE_OF_A_CLASS.values()], fast=[]))
def test_every_class_of_objective(pair, output, objective):
    options = {"objective": objective, "max_steps": 2, "num_iterations": 1, "eval_strategy": "no"}
    ends = [trained(pair, output / str(tokens), tokens, **options) for tokens in (WHOLE, ONE_ROW_AT_A_TIME)]
    assert_same_run(*ends)


def test_other_processes_set_the_number_of_passes(pair, output, monkeypatch):
    trainer = make_trainer(pair, output, kind=Watched)
    lengths = [5, 9, 7, 6]
    assert trainer.micro_batches(lengths, 4) == [[1, 2, 3, 0]]
    monkeypatch.setattr(trainer.accelerator, "gather", lambda count: torch.cat([count, torch.tensor([3])]))
    assert trainer.micro_batches(lengths, 4) == [[1], [2], [3, 0]]
