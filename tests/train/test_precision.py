"""Mixed precision: what is scored and trained is what sampled."""

import pytest
import torch

from tests.train.harness import make_trainer


def dtypes_seen(model, seen):
    """Collects the dtype of every activation of the first MLP; returns the hook's handle."""
    layer = model.model.layers[0].mlp.down_proj
    return layer.register_forward_hook(lambda module, args, result: seen.append(result.dtype))


@pytest.mark.parametrize("is_rescored", [False, True])
def test_bf16_samples_scores_and_trains_in_bf16(pair, output, monkeypatch, is_rescored):
    trainer = make_trainer(pair, output, bf16=True, max_steps=1)
    if is_rescored:
        monkeypatch.setattr(trainer, "_watch_of", lambda student: None)
    seen: dict[str, list[torch.dtype]] = {"sample": [], "score": [], "train": []}
    sample, score, loss = trainer._generate_single_turn, trainer.old_logprobs, trainer._compute_loss

    def watched(part, function):
        def call(*args, **kwargs):
            handle = dtypes_seen(trainer.accelerator.unwrap_model(trainer.model), seen[part])
            try:
                return function(*args, **kwargs)
            finally:
                handle.remove()

        return call

    trainer._generate_single_turn = watched("sample", sample)
    trainer.old_logprobs = watched("score", score)
    trainer._compute_loss = watched("train", loss)
    trainer.train()
    expected = {
        "sample": {torch.bfloat16},
        "score": {torch.bfloat16} if is_rescored else set(),
        "train": {torch.bfloat16},
    }
    assert {part: set(dtypes) for part, dtypes in seen.items()} == expected
    (step,) = trainer.steps
    assert abs(step["ratio"] - 1) < (1e-4 if is_rescored else 1e-2)  # the same computation, or a token at a time
    assert all(parameter.dtype == torch.float32 for parameter in trainer.model.parameters())
