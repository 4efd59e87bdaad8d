"""What AsyncTrainer overrides of TRL 1.16 or relies on: an upgrade that changes it fails here."""

import inspect
from dataclasses import fields

import pytest

from crossdistill.integrations.async_trl import AsyncTrainer, LocalSampler, RolloutWorker
from crossdistill.integrations.async_trl.trainer import AsyncDistillationConfig, AsyncDistillationTrainer

SIGNATURES = {
    "get_train_dataloader": "self",
    "get_batch_samples": "self, epoch_iterator, num_batches, device",
    "compute_loss": "self, model, inputs, return_outputs=False, num_items_in_batch=None",
    "_compute_loss": "self, unwrapped_model, inputs",
    "_sync_weight": "self",
    "_save_checkpoint": "self, model, trial",
    "_inner_training_loop": "self, *args, **kwargs",
    "__init__": "self, model, args=None, train_dataset=None, processing_class=None, callbacks=None, "
    "optimizers=(None, None), peft_config=None, rollout_worker=None, weight_transfer=None",
}
RELIED_ON = {
    "__init__": ("rollout_worker.rollout_buffer", "self._prompts_before_resume", "self._step_seq_len_weighted"),
    "_inner_training_loop": ("self._trained_prompts.clear()", "isinstance(self.rollout_worker, AsyncRolloutWorker)"),
    "_save_checkpoint": ("isinstance(self.rollout_worker, AsyncRolloutWorker)",),
    "_log_step_metrics": ("self._rollout_dataset.wait_s", "self._step_samples"),
    "_sync_weight": ("self._sync_weight_merged(t0)",),
    "_sync_weight_merged": ("self.weight_transfer.send_weights(self._streaming_iter())", "self.model_version += 1"),
    "log": ("self.rollout_worker.metrics_queue.get_nowait()", "_reduce_metric(key, valid)"),
    "compute_loss": ("self._forward_redirection(model, unwrapped_model, self._compute_loss",),
}


def shown(function) -> str:
    return ", ".join(str(one).split(":")[0] + default(one) for one in inspect.signature(function).parameters.values())


def default(parameter) -> str:
    return "" if parameter.default is inspect.Parameter.empty or ":" not in str(parameter) else f"={parameter.default}"


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    assert shown(getattr(AsyncDistillationTrainer, name)) == SIGNATURES[name]


@pytest.mark.parametrize("name", RELIED_ON)
def test_sources(name):
    source = inspect.getsource(getattr(AsyncDistillationTrainer, name))
    assert [part for part in RELIED_ON[name] if part not in source] == []


def test_nothing_else_is_overridden():
    own = {name for name, value in vars(AsyncTrainer).items() if inspect.isfunction(value)}
    assert {name for name in own if hasattr(AsyncDistillationTrainer, name)} == set(SIGNATURES)


def test_the_settings_that_are_read_exist():
    names = {field.name for field in fields(AsyncDistillationConfig)}
    assert {
        "max_staleness",
        "weight_sync_steps",
        "heartbeat_stale_after_s",
        "token_budget",
        "model_init_kwargs",
    } <= names


def test_the_protocols():
    for name in ("start", "stop", "update_model_version", "check_health"):
        assert callable(getattr(RolloutWorker, name))
    for name in ("init_weight_transfer", "pause", "send_weights", "resume", "destroy"):
        assert callable(getattr(LocalSampler, name))
