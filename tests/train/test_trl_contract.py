"""What CrossTokenizerTrainer overrides of TRL 1.16 or relies on: an upgrade that changes it fails here.

Where a test fails, read the new TRL and then change the trainer and the pin together.
"""

import ast
import inspect
import math
import textwrap
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer
from trl import DistillationConfig, DistillationTrainer
from trl.generation import vllm_client, vllm_generation
from trl.trainer import distillation_trainer
from trl.trainer.utils import RepeatSampler

from crossdistill.train import CrossTokenizerTrainer
from crossdistill.train.cards import CardTrainer
from crossdistill.train.checkpointing import CheckpointingTrainer
from crossdistill.train.evaluation import EvaluatingTrainer
from crossdistill.train.finite import FiniteTrainer
from crossdistill.train.generation import GenerationTrainer
from crossdistill.train.micro_batching import MicroBatchingTrainer
from crossdistill.train.resumable import ResumableTrainer
from crossdistill.train.streaming import StreamingTrainer
from tests.train.harness import load, make_trainer, rows

SIGNATURES = {
    "_generate": "self, prompts",
    "_generate_single_turn": "self, prompt_ids, images, multimodal_fields, has_tool_images=False",
    "_tool_call_loop": "self, prompts, prompt_ids, completion_ids, completions, images, multimodal_fields",
    "_tokenize_prompts": "self, prompts",
    "_get_tool_suffix_ids": "self, tool_messages",
    "_generate_and_score_completions": "self, inputs",
    "_compute_loss": "self, unwrapped_student, inputs, num_items_in_batch",
    "_prepare_inputs": "self, generation_batch",
    "compute_loss": "self, model, inputs, return_outputs=False, num_items_in_batch=None",
    "log": "self, logs, start_time=None",
    "_get_train_sampler": "self, dataset=None",
    "_set_signature_columns_if_needed": "self",
    "_save_checkpoint": "self, model, trial",
    "create_model_card": "self, model_name=None, dataset_name=None, tags=None",
    "_save": "self, output_dir=None, state_dict=None",
    "_load_from_checkpoint": "self, resume_from_checkpoint, model=None",
    "_load_best_model": "self",
    "training_step": "self, model, inputs, num_items_in_batch",
    "_save_rng_state": "self, output_dir",
    "evaluate": "self, eval_dataset=None, ignore_keys=None, metric_key_prefix='eval'",
    "evaluation_loop": "self, dataloader, description, prediction_loss_only=None, ignore_keys=None, "
    "metric_key_prefix='eval'",
    "get_eval_dataloader": "self, eval_dataset=None",
    "get_batch_samples": "self, epoch_iterator, num_batches, device",
    "_run_epoch": "self, model, epoch, train_dataloader, steps_in_epoch, num_update_steps_per_epoch, trial, "
    "ignore_keys_for_eval, start_time, resume_from_checkpoint, epochs_trained, steps_trained_in_current_epoch",
    "save_model": "self, output_dir=None, _internal_call=False",
    "__init__": "self, model, teacher_model=None, args=None, train_dataset=None, eval_dataset=None, "
    "processing_class=None, callbacks=None, optimizers=(None, None), quantization_config=None, peft_config=None, "
    "tools=None",
}
OVERRIDDEN = {
    "__init__",
    "_tokenize_prompts",
    "_generate_single_turn",
    "_tool_call_loop",
    "_generate_and_score_completions",
    "_compute_loss",
    "_prepare_inputs",
    "_set_signature_columns_if_needed",
    "_get_train_sampler",
    "_save_checkpoint",
    "create_model_card",
    "_save",
    "_save_rng_state",
    "evaluate",
    "evaluation_loop",
    "get_eval_dataloader",
    "get_batch_samples",
    "_maybe_log_save_evaluate",
    "save_model",
    "_run_epoch",
    "_load_from_checkpoint",
    "_load_best_model",
    "compute_loss",
    "log",
    "train",
}


def parameters(function: Any) -> str:
    """The signature without its annotations."""
    listed = []
    for parameter in inspect.signature(function).parameters.values():
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        listed.append(f"{'*' * (parameter.kind - 1) if parameter.kind in (2, 4) else ''}{parameter.name}{default}")
    return ", ".join(listed)


def body(function: Any) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))


def returned(function: Any) -> list[str]:
    return [ast.unparse(node.value) for node in ast.walk(body(function)) if isinstance(node, ast.Return) and node.value]


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    assert parameters(getattr(DistillationTrainer, name)) == SIGNATURES[name]


def test_nothing_else_is_overridden():
    classes = (
        GenerationTrainer,
        StreamingTrainer,
        FiniteTrainer,
        CardTrainer,
        ResumableTrainer,
        CheckpointingTrainer,
        MicroBatchingTrainer,
        EvaluatingTrainer,
        CrossTokenizerTrainer,
    )
    ours = {name for kind in classes for name, value in vars(kind).items() if callable(value)}
    assert {name for name in ours if hasattr(DistillationTrainer, name)} == OVERRIDDEN


@pytest.mark.parametrize("name", sorted(OVERRIDDEN - {"__init__", "train", "_maybe_log_save_evaluate", "_run_epoch"}))
def test_overrides_can_be_called_as_the_originals(name):
    theirs, ours = (
        parameters(getattr(kind, name)).split(", ") for kind in (DistillationTrainer, CrossTokenizerTrainer)
    )
    assert len(theirs) == len(ours)
    assert [part.partition("=")[2] for part in theirs] == [part.partition("=")[2] for part in ours]


# --- rollouts


def test_prompts_are_rendered_as_ids_images_and_fields():
    assert returned(DistillationTrainer._tokenize_prompts) == ["(prompt_ids, images, multimodal_fields)"]


def test_generate_returns_prompts_and_completions_first():
    assert returned(DistillationTrainer._generate) == ["(prompt_ids, completion_ids, tool_mask, images, tool_images)"]
    assert returned(DistillationTrainer._generate_single_turn) == ["completion_ids"]


def test_the_tool_loop_returns_mask_and_messages_first():
    """Messages: what followed each prompt, an assistant's message for each stretch of sampled tokens."""
    expected = "(tool_mask, completions, completion_ids, tool_call_count, tool_failure_count, tool_images)"
    assert returned(DistillationTrainer._tool_call_loop) == [expected]


def test_vllm_returns_the_sampled_log_probabilities_third():
    generate = returned(vllm_generation.VLLMGeneration.generate)
    assert generate == ["(prompt_ids, completion_ids, logprobs, logprob_token_ids)"]
    calls = [
        ast.unparse(node)
        for node in ast.walk(body(DistillationTrainer._generate_single_turn))
        if isinstance(node, ast.Assign) and "vllm_generation.generate" in ast.unparse(node.value)
    ]
    assert len(calls) == 1
    assert calls[0].startswith("_, completion_ids, _, _ = self.vllm_generation.generate(")


def test_vllm_reads_the_attributes_that_are_set_on_it_at_every_call():
    assert {"logprobs", "generation_kwargs"} <= inspect.signature(
        vllm_generation.VLLMGeneration.__init__
    ).parameters.keys()
    source = inspect.getsource(vllm_generation.VLLMGeneration.generate)
    assert source.count('"logprobs": self.logprobs') == 2  # served and colocated
    assert '"generation_kwargs": self.generation_kwargs' in source
    assert "generation_kwargs.update(self.generation_kwargs)" in source


def test_vllm_is_sent_the_parameters_that_the_model_has_at_that_time():
    sync = inspect.getsource(vllm_generation.VLLMGeneration.sync_weights)
    assert "self._iter_named_params()" in sync
    assert ".named_parameters()" in inspect.getsource(vllm_generation.VLLMGeneration._iter_named_params)


def test_the_trainer_sets_nothing_on_vllm_generation_after_it_is_built():
    """The wrapper around it hands on what is read, not what is set."""
    targets = [
        ast.unparse(target)
        for node in ast.walk(ast.parse(inspect.getsource(distillation_trainer)))
        if isinstance(node, ast.Assign)
        for target in node.targets
    ]
    assert "self.vllm_generation" in targets
    assert not [target for target in targets if target.startswith("self.vllm_generation.")]


def test_the_trainer_makes_its_engine_by_name_and_with_names():
    """So that it makes ours, while that name is ours (train/vllm/engine.py)."""
    calls = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(distillation_trainer)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "VLLMGeneration"
    ]
    assert len(calls) == 1
    assert not calls[0].args
    assert all(keyword.arg for keyword in calls[0].keywords)


def test_the_engine_connects_and_sends_weights_in_methods_of_their_own():
    engine = vllm_generation.VLLMGeneration
    assert "self._init_vllm()" in inspect.getsource(engine.__init__)
    assert "self.vllm_client" in inspect.getsource(engine.generate)
    assert "broadcast_object_list(obj_list, from_process=0)" in inspect.getsource(engine.generate)
    assert list(inspect.signature(engine._iter_named_params).parameters) == ["self"]
    assert "self._post(" in inspect.getsource(vllm_client.VLLMClient.generate)


def test_vllm_log_probabilities_are_one_list_a_token():
    token = lambda value: {7: SimpleNamespace(logprob=value, rank=3)}  # noqa: E731
    outputs = [SimpleNamespace(outputs=[SimpleNamespace(logprobs=[token(-1.5), token(math.nan)])])]
    assert vllm_generation.extract_logprobs(outputs) == ([[[-1.5], [None]]], [[[7], [7]]])


# --- optimisation


def test_the_sampler():
    sampler = RepeatSampler(list("abcde"), mini_repeat_count=1, batch_size=2, repeat_count=3, shuffle=False, seed=0)
    assert list(sampler) == [0, 1] * 3 + [2, 3] * 3


def test_a_training_step_counts_itself():
    assert "self._step += 1" in inspect.getsource(DistillationTrainer.training_step)


@pytest.mark.parametrize(("num_items", "passed"), [(6.0, 6.0), (0.0, 1.0)])
def test_compute_loss_hands_on_the_global_count_and_reads_three_values(pair, output, monkeypatch, num_items, passed):
    trainer = make_trainer(pair, output)
    seen = {}

    def compute(unwrapped: Any, inputs: Any, count: Any) -> tuple[Any, Any, Any]:
        seen.update(unwrapped=unwrapped, inputs=inputs, count=count)
        return torch.tensor(3.0), torch.tensor(8.0), torch.tensor(4)

    monkeypatch.setattr(trainer, "_compute_loss", compute)
    inputs = {"num_items_in_batch": torch.tensor(num_items)}
    trainer.model.train()
    loss = DistillationTrainer.compute_loss(trainer, trainer.model, inputs, num_items_in_batch=123)
    assert loss.item() == 3.0
    assert seen["unwrapped"] is trainer.model
    assert seen["inputs"] is inputs
    assert seen["count"].item() == passed
    assert trainer._metrics["train"]["entropy"] == [2.0]
    trainer.model.eval()
    DistillationTrainer.compute_loss(trainer, trainer.model, inputs)
    assert seen["count"] is None


# --- construction


def test_attributes_of_a_trainer_without_a_teacher(pair, output):
    options = {"gradient_checkpointing": None, "report_to": "none", "bf16": False, "use_cpu": True}
    args = DistillationConfig(str(output), **options)
    trainer = DistillationTrainer(
        load(pair.student),
        teacher_model=None,
        args=args,
        train_dataset=rows(),
        processing_class=AutoTokenizer.from_pretrained(pair.student),
    )
    assert trainer.teacher_model is None
    eos = trainer.processing_class.eos_token_id
    assert trainer.eos_token_ids == [eos]
    assert trainer.generation_config.eos_token_id == [eos]
    assert trainer.generation_kwargs["eos_token_id"] == [eos]
    assert trainer._tokenizer is trainer.processing_class
    assert callable(trainer._forward_redirection)
    assert (trainer._buffered_inputs, trainer._step) == (None, 0)
    assert set(trainer._metrics) == {"train", "eval"}
    assert trainer._metrics["train"]["anything"] == []
    assert set(trainer._logs) == {"prompt", "completion"}
    assert trainer.temperature == 1.0
    assert trainer.use_vllm is False
    assert trainer.shuffle_dataset is True


def test_fields_of_the_configuration():
    fields = DistillationConfig.__dataclass_fields__
    assert {"objective_options", "teacher_chat_template_kwargs"}.isdisjoint(DistillationConfig._VALID_DICT_FIELDS)
    for name in (
        "teacher_model_init_kwargs",
        "teacher_model_revision",
        "chat_template_kwargs",
        "max_completion_length",
        "temperature",
        "disable_dropout",
        "shuffle_dataset",
        "use_vllm",
    ):
        assert name in fields, name


def test_old_names_of_transformers_that_trl_uses_are_no_news_for_a_user(pair, output):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        model = make_trainer(pair, output).model
        model.gradient_checkpointing_enable()
        model.gradient_checkpointing_disable()
    assert not [warning for warning in heard if "gradient_checkpointing" in str(warning.message)]
