"""Settings of a run file that verl can honour; every other one that is set is refused by name."""

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
    *("disable_dropout", "model_init_kwargs"),
    *("temperature", "top_p", "top_k", "max_completion_length", "chat_template_kwargs", "shuffle_dataset"),
    *("use_vllm", "vllm_gpu_memory_utilization", "vllm_tensor_parallel_size", "vllm_max_model_length"),
    *("save_strategy", "save_steps", "save_total_limit", "eval_strategy", "eval_steps", "report_to", "run_name"),
    *("project", "objective", "objective_options", "stop_unit", "text_tokens", "min_coverage", "low_coverage"),
    *("teacher_batch_tokens", "teacher_chat_template_kwargs", "teacher_server", "teacher_cache", "teacher_cache_mib"),
    *("teacher_rules", "teacher_weights", "output_dir"),
}
"""Fields of ``CrossTokenizerConfig`` that are translated."""
_WHY = {
    "on_policy_share": "verl's responses are always the student's own samples",
    "off_policy": "verl's responses are always the student's own samples",
    "rollout_parts": "a response is scored as soon as it is sampled, whatever this says",
    "logging_steps": "verl logs each step",
    "optim": "verl trains with AdamW",
    "min_p": "verl passes only temperature, top_p and top_k to its sampler",
    "repetition_penalty": "verl passes only temperature, top_p and top_k to its sampler",
    "generation_kwargs": "verl passes only temperature, top_p and top_k to its sampler",
    "fp16": "its gradients would need a scaler, which verl has not",
}
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
    given = set(config.trainer_arguments())
    for field in fields(args):
        if field.name not in given or field.name in _HONOURED:
            continue
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if getattr(args, field.name) != default:
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
    for key, value in (config.lora or {}).items():
        if key not in _LORA and value:
            raise InputError(f"[lora] {key} cannot be honoured by verl, which takes {', '.join(_LORA)}: leave it out.")
    if args.max_steps <= 0 and args.num_train_epochs != int(args.num_train_epochs):
        raise InputError("[train] num_train_epochs must be a whole number for verl: set it so, or set max_steps.")
    for name in ("save_strategy", "eval_strategy"):
        if str(getattr(getattr(args, name), "value", getattr(args, name))) not in ("no", "steps"):
            raise InputError(f"[train] {name} must be no or steps for verl: set one of them.")
