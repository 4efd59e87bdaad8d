"""Mixed precision: what is scored and trained is what sampled."""

import torch

from tests.train.harness import make_trainer


def dtypes_seen(model, seen):
    """Collects the dtype of every activation of the first MLP; returns the hook's handle."""
    layer = model.model.layers[0].mlp.down_proj
    return layer.register_forward_hook(lambda module, args, result: seen.append(result.dtype))


def test_bf16_scores_and_trains_in_bf16(pair, output):
    trainer = make_trainer(pair, output, bf16=True, max_steps=1)
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
    assert {part: set(dtypes) for part, dtypes in seen.items()} == {part: {torch.bfloat16} for part in seen}
    (step,) = trainer.steps
    assert abs(step["ratio"] - 1) < 1e-4  # the same computation in both
    assert all(parameter.dtype == torch.float32 for parameter in trainer.model.parameters())
