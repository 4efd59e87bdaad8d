"""A run file of ours as verl's configuration: the same run, or a refusal that names the setting."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crossdistill.errors import InputError
from crossdistill.integrations.verl import NAME
from crossdistill.integrations.verl.checks import CALLBACK, SEAMS
from crossdistill.integrations.verl.honoured import SCHEDULES, interval, refuse, rollouts
from crossdistill.integrations.verl.options import CLIPS, policy_objective
from crossdistill.runs.config import RunConfig, build

_ACTOR, _ROLLOUT, _MODEL = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "model"))
Settings = dict[str, Any]


@dataclass(frozen=True)
class Launch:
    """Where verl runs, and on what data.

    Attributes:
        output: folder for checkpoints.
        train_file, eval_file: prompts as verl reads them; None without an evaluation.
        num_rows: of the training prompts.
        longest_prompt: tokens of the longest prompt, in the student's template.
        gpus: of each node.
        nodes: machines.
        engine: that samples: "vllm" or "sglang".
    """

    output: str
    train_file: str
    eval_file: str | None
    num_rows: int
    longest_prompt: int
    gpus: int = 8
    nodes: int = 1
    engine: str = "vllm"


def verl_settings(config: RunConfig, launch: Launch) -> Settings:
    """verl's settings for the run of a run file.

    Args:
        config: the run file.
        launch: where it runs.

    Returns:
        Key with dots -> value; what verl has by default in the same way is left out.

    Raises:
        InputError: the first setting that verl cannot honour.
    """
    args = arguments_of(config, launch.output)
    refuse(config, args)
    settings = {
        **SEAMS,
        CALLBACK[0]: CALLBACK[1],
        **_FIXED,
        **_models(config, args),
        **_data(args, launch),
        **_sampling(args, launch),
        **_optimisation(args, config.trainer_arguments(), launch),
        **_trainer(args, _loggers(config), launch),
    }
    section = {f"{NAME}.{key}": value for key, value in _section(config, args).items()}
    return {**settings, **section}


def arguments_of(config: RunConfig, output: str = "crossdistill-run") -> Any:
    """The checked settings of a run, as a trainer of ours would have them."""
    from crossdistill.train import CrossTokenizerConfig

    options = {"output_dir": output, **config.trainer_arguments()}
    # verl runs elsewhere: what this machine can compute with, and which loggers it has, does not matter
    return build(CrossTokenizerConfig, "train", {**options, "use_cpu": True, "report_to": "none"})


# ---- parts ---------------------------------------------------------------------------------------------------

_LOGGERS = ("wandb", "tensorboard", "mlflow", "swanlab", "trackio", "clearml")
_FIXED: Settings = {
    "algorithm.rollout_correction.bypass_mode": True,  # the ratio is that to the policy that sampled
    "algorithm.use_kl_in_reward": False,
    f"{_ACTOR}.use_kl_loss": False,
    f"{_ACTOR}.loss_agg_mode": "token-mean",
    f"{_ACTOR}.strategy": "fsdp2",
    "actor_rollout_ref.ref.strategy": "fsdp2",
    f"{_ROLLOUT}.calculate_log_probs": True,
    f"{_ROLLOUT}.agent.default_agent_loop": NAME,
    "trainer.resume_mode": "auto",
}


def _section(config: RunConfig, args: Any) -> Settings:
    """The section of the plug-in: what differs from its defaults."""
    values: Settings = {"objective": args.objective, "objective_options": _objective_options(args)}
    if config.teachers:
        tables = config.named_teachers.items()
        values["teachers"] = {name: table.model_dump(exclude_none=True) for name, table in tables}
    else:
        values |= {"teacher": config.teacher, "teacher_tokenizer": config.teacher_tokenizer}
    same = ("teacher_rules", "teacher_weights", "teacher_chat_template_kwargs", "teacher_server", "teacher_cache")
    values |= {name: getattr(args, name) for name in (*same, "text_tokens", "min_coverage")}
    values |= {name: getattr(args, name) for name in ("stop_unit", "low_coverage", "teacher_batch_tokens")}
    if args.teacher_cache:
        values["teacher_cache_mib"] = args.teacher_cache_mib
    return {key: value for key, value in values.items() if value not in (None, {}, [])}


def _objective_options(args: Any) -> Settings:
    options = {key: value for key, value in (args.objective_options or {}).items() if key not in CLIPS}
    policy_objective(args.objective, options)
    return options


def _models(config: RunConfig, args: Any) -> Settings:
    settings: Settings = {
        f"{_MODEL}.path": config.student,
        f"{_MODEL}.enable_gradient_checkpointing": bool(args.activation_checkpointing),
        f"{_ACTOR}.fsdp_config.mixed_precision": {  # its dtype is of another engine, and not read here
            "param_dtype": "bf16" if args.bf16 else "fp32",
            "reduce_dtype": "fp32",
            "buffer_dtype": "fp32",
        },
    }
    for key, value in (args.model_init_kwargs or {}).items():
        settings[f"{_MODEL}.override_config.{key}"] = value
    if config.lora is not None:
        lora = {"r": 8, "lora_alpha": 8, **config.lora}
        settings |= {f"{_MODEL}.lora_rank": lora["r"], f"{_MODEL}.lora_alpha": lora["lora_alpha"]}
        if config.lora.get("target_modules"):
            settings[f"{_MODEL}.target_modules"] = config.lora["target_modules"]
    return settings


def _data(args: Any, launch: Launch) -> Settings:
    return {
        "data.train_files": launch.train_file,
        "data.val_files": launch.eval_file or launch.train_file,
        "data.train_batch_size": batch_size(args, launch),
        "data.max_prompt_length": launch.longest_prompt,
        "data.max_response_length": args.max_completion_length,
        "data.truncation": "error",
        "data.shuffle": bool(args.shuffle_dataset),
        "data.seed": args.seed,
        **({"data.apply_chat_template_kwargs": args.chat_template_kwargs} if args.chat_template_kwargs else {}),
    }


def batch_size(args: Any, launch: Launch) -> int:
    """Prompts of a step: as many as with a process of ours on each GPU.

    Raises:
        InputError: the data has fewer.
    """
    gpus, size = launch.gpus * launch.nodes, args.num_generations
    rows = int(args.per_device_train_batch_size * args.gradient_accumulation_steps * gpus) // size
    if rows > launch.num_rows:
        each = f", {size} responses to each" if size > 1 else ""
        raise InputError(
            f"a step takes {rows} prompts ({args.per_device_train_batch_size} x {args.gradient_accumulation_steps} on "
            f"each of {gpus} GPUs{each}) and the data has {launch.num_rows}: lower gradient_accumulation_steps."
        )
    return rows


def _sampling(args: Any, launch: Launch) -> Settings:
    shape = {"temperature": args.temperature, "top_p": 1.0, "top_k": -1}  # others are refused
    settings: Settings = {f"{_ROLLOUT}.name": launch.engine, f"{_ROLLOUT}.seed": args.seed}
    settings[f"{_ROLLOUT}.n"] = args.num_generations
    settings |= {f"{_ROLLOUT}.{key}": value for key, value in shape.items()}
    settings |= {f"{_ROLLOUT}.val_kwargs.{key}": value for key, value in {**shape, "do_sample": True}.items()}
    settings[f"{_ROLLOUT}.dtype"] = "bfloat16" if args.bf16 else "float32"
    settings[f"{_ROLLOUT}.tensor_model_parallel_size"] = args.vllm_tensor_parallel_size
    settings[f"{_ROLLOUT}.log_prob_micro_batch_size_per_gpu"] = args.per_device_train_batch_size
    if args.use_vllm:
        settings[f"{_ROLLOUT}.gpu_memory_utilization"] = args.vllm_gpu_memory_utilization
    if args.vllm_max_model_length:
        settings[f"{_ROLLOUT}.max_model_len"] = args.vllm_max_model_length
    return settings


def _optimisation(args: Any, given: Mapping[str, Any], launch: Launch) -> Settings:
    schedule = str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type))
    clips = policy_objective(args.objective, _objective_options(args)).__dict__ | {
        key: value for key, value in (args.objective_options or {}).items() if key in CLIPS
    }
    settings: Settings = {f"{_ACTOR}.{key}": clips[option] for option, key in CLIPS.items()}
    warmup = 0 if schedule == "constant" else args.warmup_steps
    is_share = 0 < warmup < 1
    warmup = warmup if is_share else rollouts(args, "warmup_steps") if warmup else 0
    tokens = args.micro_batch_tokens if "micro_batch_tokens" in given else None
    if tokens is not None:  # verl takes no row that is longer than this, and we one by itself
        longest = launch.longest_prompt + args.max_completion_length
        settings[f"{_ACTOR}.use_dynamic_bsz"] = True
        settings[f"{_ACTOR}.ppo_max_token_len_per_gpu"] = max(tokens, longest)
    return {
        **settings,
        f"{_ACTOR}.ppo_mini_batch_size": batch_size(args, launch),
        f"{_ACTOR}.ppo_micro_batch_size_per_gpu": args.per_device_train_batch_size,
        f"{_ACTOR}.ppo_epochs": args.num_iterations,
        f"{_ACTOR}.optim.clip_grad": float(args.max_grad_norm or math.inf),  # ours takes 0 for no limit
        f"{_ACTOR}.data_loader_seed": args.seed,
        f"{_ACTOR}.optim.lr": args.learning_rate,
        f"{_ACTOR}.optim.weight_decay": args.weight_decay,
        f"{_ACTOR}.optim.betas": [args.adam_beta1, args.adam_beta2],
        f"{_ACTOR}.optim.override_optimizer_config": {"eps": args.adam_epsilon},
        f"{_ACTOR}.optim.lr_warmup_steps": -1 if is_share else warmup,
        f"{_ACTOR}.optim.lr_warmup_steps_ratio": warmup if is_share else 0.0,
        f"{_ACTOR}.optim.lr_scheduler_type": SCHEDULES[schedule],
    }


def _trainer(args: Any, loggers: list[str], launch: Launch) -> Settings:
    steps = rollouts(args, "max_steps") if args.max_steps > 0 else None
    epochs = steps if steps else int(args.num_train_epochs)  # an epoch has at least one step
    total = steps or epochs * (launch.num_rows // batch_size(args, launch))
    evaluates = launch.eval_file is not None
    at_steps = str(getattr(args.eval_strategy, "value", args.eval_strategy)) == "steps"
    saves = str(getattr(args.save_strategy, "value", args.save_strategy)) == "steps"
    return {
        "trainer.n_gpus_per_node": launch.gpus,
        "trainer.nnodes": launch.nodes,
        "trainer.total_epochs": epochs,
        "trainer.total_training_steps": steps,
        "trainer.val_before_train": evaluates,
        "trainer.test_freq": (interval(args, "eval_steps", total) if at_steps else total) if evaluates else -1,
        "trainer.save_freq": interval(args, "save_steps", total) if saves else total,  # the end is saved in any case
        "trainer.max_actor_ckpt_to_keep": args.save_total_limit,
        f"{_ACTOR}.checkpoint.save_contents": ["model", "optimizer", "extra", "hf_model"],
        "trainer.default_local_dir": f"{launch.output}/checkpoints",
        "trainer.logger": ["console", *loggers],
        "trainer.project_name": args.project if args.project != "huggingface" else NAME,
        "trainer.experiment_name": args.run_name or NAME,
    }


def _loggers(config: RunConfig) -> list[str]:
    given = config.trainer_arguments()["report_to"] or []
    names = [name for name in ([given] if isinstance(given, str) else given) if name != "none"]
    for name in names:
        if name not in _LOGGERS:
            raise InputError(f"report_to names {name!r}, which verl has not: name some of {', '.join(_LOGGERS)}.")
    return names


def nested(settings: Mapping[str, Any]) -> Settings:
    """Settings with dots in their keys as tables.

    Example:
        >>> nested({"data.seed": 7, "data.shuffle": True})
        {'data': {'seed': 7, 'shuffle': True}}
    """
    tables: Settings = {}
    for key, value in settings.items():
        *path, name = key.split(".")
        table = tables
        for part in path:
            table = table.setdefault(part, {})
        table[name] = value
    return tables
