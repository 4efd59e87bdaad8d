"""Settings of a run file that verl can honour; every other one that is set is refused by name."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from crossdistill.errors import InputError
from crossdistill.runs.config import RunConfig

_HONOURED = {
    *("per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "max_steps", "seed"),
    *(
        "learning_rate",
        "lr_scheduler_type",
        "warmup_steps",
        "weight_decay",
        "adam_beta1",
        "adam_beta2",
        "max_grad_norm",
    ),
    *("adam_epsilon", "num_iterations", "bf16", "activation_checkpointing", "gradient_checkpointing"),
    *("disable_dropout", "model_init_kwargs", "num_generations"),
    *("temperature", "max_completion_length", "chat_template_kwargs", "shuffle_dataset", "micro_batch_tokens"),
    *("use_vllm", "vllm_gpu_memory_utilization", "vllm_tensor_parallel_size", "vllm_max_model_length"),
    *("save_strategy", "save_steps", "save_total_limit", "eval_strategy", "eval_steps", "report_to", "run_name"),
    *("project", "objective", "objective_options", "stop_unit", "text_tokens", "min_coverage", "low_coverage"),
    *("teacher_batch_tokens", "teacher_chat_template_kwargs", "teacher_server", "teacher_cache", "teacher_cache_mib"),
    *("teacher_rules", "teacher_weights", "output_dir"),
}
"""Fields of ``CrossTokenizerConfig`` that are translated."""
_SHAPED = (
    "the log-probabilities that its sampler returns would be those of the tokens that are left, and its loss takes "
    "them for the policy's"
)
_WHY = {
    "reward": "the place of its rewards holds the teacher's advantages",
    "on_policy_share": "verl's responses are always the student's own samples",
    "off_policy": "verl's responses are always the student's own samples",
    "min_padding_saved": "its sampler pads no prompts",
    "rollout_parts": "a response is scored as soon as it is sampled, whatever this says",
    "logging_steps": "verl logs each step",
    "optim": "verl trains with AdamW",
    "top_p": _SHAPED,
    "top_k": _SHAPED,
    "min_p": "verl passes only temperature, top_p and top_k to its sampler",
    "repetition_penalty": "verl passes only temperature, top_p and top_k to its sampler",
    "generation_kwargs": "verl passes only temperature, top_p and top_k to its sampler",
    "fp16": "its gradients would need a scaler, which verl has not",
}
_THE_SAME = {"optim": ("adamw_torch", "adamw_torch_fused"), "logging_steps": (1,), "top_k": (0, -1)}
"""Values that are what verl does."""
SCHEDULES = {"constant": "constant", "constant_with_warmup": "constant", "cosine": "cosine"}
_LORA = ("r", "lora_alpha", "target_modules")


def refuse(config: RunConfig, args: Any) -> None:
    """Check that verl can honour what a run file sets.

    Args:
        config: the run file.
        args: its settings, as a trainer of ours would have them.

    Raises:
        InputError: the first setting that it cannot.
    """
    if config.eval_tasks:
        raise InputError(
            "eval_tasks cannot be honoured by verl, which has evaluations of its own: leave it out, and run "
            "`crossdistill eval` on its checkpoints."
        )
    given = set(config.trainer_arguments())
    for field in fields(args):
        if field.name not in given or field.name in _HONOURED:
            continue
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if getattr(args, field.name) not in (default, *_THE_SAME.get(field.name, ())):
            why = _WHY.get(field.name, "verl has no such setting")
            raise InputError(f"[train] {field.name} cannot be honoured by verl, because {why}: leave it out.")
    schedule = str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type))
    if schedule not in SCHEDULES:
        raise InputError(
            f"[train] lr_scheduler_type = {schedule!r} cannot be honoured by verl, which has {', '.join(SCHEDULES)}: "
            "set one of them."
        )
    if not args.disable_dropout:
        raise InputError("[train] disable_dropout = false cannot be honoured by verl: leave it out.")
    for key in sorted(set(args.model_init_kwargs or {}) - {"attn_implementation"}):
        raise InputError(f"[train] model_init_kwargs: {key} cannot be honoured by verl: leave it out.")
    _refuse_lora(config.lora)
    if args.max_steps <= 0 and args.num_train_epochs != int(args.num_train_epochs):
        raise InputError("[train] num_train_epochs must be a whole number for verl: set it so, or set max_steps.")
    for name in ("save_strategy", "eval_strategy"):
        if str(getattr(getattr(args, name), "value", getattr(args, name))) not in ("no", "steps"):
            raise InputError(f"[train] {name} must be no or steps for verl: set one of them.")


def _refuse_lora(lora: Mapping[str, Any] | None) -> None:
    for key, value in (lora or {}).items():
        if key not in _LORA and value:
            raise InputError(f"[lora] {key} cannot be honoured by verl, which takes {', '.join(_LORA)}: leave it out.")
    if lora is not None and not lora.get("target_modules"):
        raise InputError(
            "[lora] target_modules is not set, and verl would take all linear layers where PEFT takes those that it "
            'knows for the architecture: name them, such as ["q_proj", "v_proj"], or "all-linear".'
        )


# ---- steps ----------------------------------------------------------------------------------------------------------


def rollouts(args: Any, name: str) -> int:
    """A number of optimisation steps of ours, in steps of verl: each is a rollout with all of its updates.

    Args:
        args: settings.
        name: of the number.

    Raises:
        InputError: verl would be amid a rollout.
    """
    steps = int(getattr(args, name))
    if steps % args.num_iterations:
        raise InputError(
            f"[train] {name} = {steps} ends amid a rollout, which has num_iterations = {args.num_iterations} "
            "optimisation steps, and a step of verl is a whole one: set a multiple."
        )
    return steps // args.num_iterations


def interval(args: Any, name: str, total: int) -> int:
    """Steps of verl between two checkpoints or evaluations; below 1 the setting is a share of the run.

    Args:
        args: settings.
        name: of the number.
        total: steps of verl in the run.
    """
    value = getattr(args, name)
    return math.ceil(total * value) if value < 1 else rollouts(args, name)
