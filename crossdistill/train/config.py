"""Configuration of the trainer: TRL's, and what distillation across tokenizers adds."""

import math
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, cast

from transformers import TrainingArguments
from transformers.integrations import get_available_reporting_integrations
from trl import DistillationConfig

from crossdistill.chat.template import check_template_kwargs
from crossdistill.errors import InputError
from crossdistill.inspection.choice import AUTO
from crossdistill.objectives import Objective, get
from crossdistill.objectives.base import check_objective
from crossdistill.ops import MICRO_BATCH_TOKENS
from crossdistill.signal import Signal
from crossdistill.teachers.kept_states import StatesIn
from crossdistill.train.generations import check_generations
from crossdistill.train.monitor.coverage_guard import check_settings
from crossdistill.train.off_policy import check_off_policy
from crossdistill.train.preflight.device import cpu_options
from crossdistill.train.preflight.noise import NEFTUNE
from crossdistill.train.preflight.packages import check_packages
from crossdistill.train.reward.base import Reward
from crossdistill.train.reward.checks import check_no_reward, check_reward
from crossdistill.train.reward.choice import reward_of
from crossdistill.train.sampling_settings import check_sampling
from crossdistill.train.unsupported import UNSUPPORTED, check_unsupported

PRESETS: dict[str, dict[str, Any]] = {
    # Breaking the Tokenizer Barrier, appendix A and its training script. 128 prompts a step on one process:
    # divide gradient_accumulation_steps by the number of processes.
    "paper": {
        "objective": "dpca",
        "objective_options": {
            "credit": "semantic_prior",
            "clip_low": 0.2,
            "clip_high": 0.28,
            "dual_clip": 10.0,
            "max_advantage": 10.0,
        },
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 128,
        "learning_rate": 1e-6,
        "warmup_steps": 10,
        "lr_scheduler_type": "constant_with_warmup",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "bf16": True,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "max_completion_length": 16384,
    },
}
"""Named settings: ``CrossTokenizerConfig("out", **PRESETS["paper"])``, or ``preset = "paper"`` in a run file."""


@dataclass
class CrossTokenizerConfig(DistillationConfig):
    """Configuration of :class:`CrossTokenizerTrainer`.

    Every field of ``trl.DistillationConfig`` holds as there (generation, vLLM, checkpoints, loggers, ...), except those
    that are refused (:data:`crossdistill.train.unsupported.UNSUPPORTED`). The fields below are added.
    """

    disable_dropout: bool = field(
        default=True,
        metadata={"help": "Train without dropout, so that the policy that is trained is the one that sampled."},
    )
    # TRL turns checkpointing on under the old name, of which transformers warns
    gradient_checkpointing: bool | None = field(
        default=None, metadata={"help": "Old name of activation_checkpointing."}
    )
    activation_checkpointing: bool | None = field(
        default=True, metadata={"help": "Recompute activations in the backward pass: less memory, more time."}
    )
    use_cpu: bool | None = field(
        default=None,
        metadata={
            "help": "Compute on the CPU. None: if there is no GPU, and then in float32 unless bf16 asks for bfloat16."
        },
    )
    objective: str = field(
        default="dpca",
        metadata={
            "help": "Name of the objective (crossdistill.objectives), the import path of your own "
            "(my_package.my_file:MyObjective), or auto: chosen by what the teacher gives and what `crossdistill "
            "inspect` says of the pair. In Python also an Objective."
        },
    )
    objective_options: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Options of the objective, such as credit or clip_low."}
    )
    num_iterations: int = field(
        default=1,
        metadata={
            "help": "Optimisation steps on each batch of rollouts. Above 1 the importance ratio leaves 1 and the clip "
            "takes effect; save_steps must then be a multiple of it, so that a checkpoint falls between two rollouts."
        },
    )
    num_generations: int = field(
        default=1,
        metadata={
            "help": "Responses to each prompt, a group that the objective may compare. A step then takes as many "
            "responses as before, and so fewer prompts; per_device_train_batch_size * gradient_accumulation_steps must "
            "be a multiple of it. Evaluation samples one response to each prompt."
        },
    )
    on_policy_share: float = field(
        default=1.0,
        metadata={
            "help": "Probability that a batch's responses are the student's own samples (lambda of GKD); the others "
            "come from `off_policy`. Below 1 the objective must hold on any text."
        },
    )
    off_policy: str = field(
        default="given",
        metadata={
            "help": "The other batches' responses: given (the data's `completion` column) or teacher (a local teacher "
            "writes them)."
        },
    )
    stop_unit: bool = field(
        default=True,
        metadata={
            "help": "Teach the end of the turn: pair the student's stop mass with the teacher's if the student really "
            "stopped. Turn off for a teacher that does not end its turns, such as a base model."
        },
    )
    micro_batch_tokens: int = field(
        default=MICRO_BATCH_TOKENS,
        metadata={
            "help": "Tokens (padding included) that the student reads at once, in scoring and in training: rows are "
            "sorted by length, and per_device_train_batch_size rows that are longer together are cut into several "
            "micro-batches. The gradient is the same. A single row may be longer."
        },
    )
    teacher_batch_tokens: int = field(
        default=MICRO_BATCH_TOKENS,
        metadata={"help": "Tokens (padding included) that a local teacher scores at once. A single row may be longer."},
    )
    teacher_states: str = field(
        default="disk",
        metadata={
            "help": "Where a local teacher's hidden states wait for the loss, if the objective reads whole "
            "distributions: disk (the folder of temporary files, TMPDIR) or memory. A response of 16,384 tokens has "
            "168 MB of them with 5,120 features in bfloat16."
        },
    )
    teacher_chat_template_kwargs: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Keyword arguments of the teacher's chat template, such as enable_thinking."}
    )
    teacher_server: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": "Settings of a teacher's server: fields of crossdistill.teachers.ServedOptions."},
    )
    rollout_parts: int = field(
        default=1,
        metadata={
            "help": "Number of parts in which a batch of rollouts is sampled, so that a teacher's server scores one "
            "while the next is sampled. Fewer responses are then sampled at once: worth it if scoring takes longer."
        },
    )
    min_padding_saved: float | None = field(
        default=None,
        metadata={
            "help": "`generate` pads a batch's prompts to the longest. It samples the batch in portions of similar "
            "prompt length, each of which decodes by itself, if every further one saves at least so many tokens of "
            "padding for each token of max_completion_length. None: 30 on a CPU, 1,000 elsewhere."
        },
    )
    vllm_weights_folder: str | None = field(
        default=None,
        metadata={
            "help": "Folder through which vLLM's server gets the student's weights, in place of NCCL: one that both "
            "see under this path. It takes the size of the model, while the server loads them."
        },
    )
    teacher_cache: str | None = field(
        default=None,
        metadata={"help": "Folder in which the scores of a teacher's server are cached."},
    )
    teacher_cache_mib: int = field(default=1024, metadata={"help": "Largest size of that folder."})
    teacher_rules: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "Of several teachers, name -> regular expression: a prompt goes to the first one whose expression "
            "is found in its text. Without rules and weights, the data's column `teacher` names one."
        },
    )
    teacher_weights: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": "Of several teachers, name -> weight: all score every response; advantages are averaged."},
    )
    reward: str | None = field(
        default=None,
        metadata={
            "help": "Grades the responses beside the teacher, on the data's column `answer`: a task of `crossdistill "
            "eval`, a file of your own, or the import path of a function (as for TRL's GRPOTrainer) or of a task. In "
            "Python also the function or task itself. Needs num_generations of 2 or more. None: the teacher alone."
        },
    )
    reward_weight: float = field(
        default=1.0,
        metadata={
            "help": "Nats that a reward of one standard deviation above the mean of its group adds to the advantage of "
            "each token."
        },
    )
    reward_options: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": "Of a reward that is a task: parameters, seed, sandbox, workers."},
    )
    text_tokens: list[str] | None = field(
        default=None,
        metadata={
            "help": "Special tokens of student or teacher that are words of a response, such as <think>: they are read "
            "as text. Other special tokens within a response are not shown to the teacher."
        },
    )
    min_coverage: float | None = field(
        default=None,
        metadata={
            "help": "Share of the sampled bytes that the teacher must supervise; by default the expected coverage, "
            "which `crossdistill inspect` measures, less 5 points."
        },
    )
    low_coverage: str = field(
        default="stop",
        metadata={"help": "What a run does below min_coverage: stop (after a checkpoint), warn or ignore."},
    )

    _VALID_DICT_FIELDS: ClassVar[list[str]] = [
        *DistillationConfig._VALID_DICT_FIELDS,
        "objective_options",
        "reward_options",
        "teacher_chat_template_kwargs",
        "teacher_rules",
        "teacher_server",
        "teacher_weights",
    ]

    def __post_init__(self) -> None:
        check_packages(vars(self))  # before those of transformers fail without one
        if self.gradient_checkpointing is False:
            self.activation_checkpointing = False  # whose default is on
        # kept for the finding that says so
        self.given_device = {"use_cpu": self.use_cpu, "bf16": self.bf16}
        for name, value in cpu_options(self.given_device).items():
            setattr(self, name, value)
        super().__post_init__()
        self.check()

    def check(self) -> None:
        """Check the settings that are given; part of making a configuration.

        Raises:
            InputError: one that cannot work.
        """
        check_unsupported(self, UNSUPPORTED)
        for template_kwargs in (self.chat_template_kwargs, self.teacher_chat_template_kwargs):
            check_template_kwargs(cast(dict[str, Any] | None, template_kwargs))
        self._take_objective()
        if self.objective == AUTO and self.objective_options:
            raise InputError(
                f"objective {AUTO!r} takes no options, because it is not known yet: leave objective_options out, or "
                "name an objective."
            )
        # an unknown name or option is refused here
        named = None if self.objective == AUTO else self.make_objective()
        check_temperature(named, self.temperature)
        check_sampling(self)
        check_off_policy(self.on_policy_share, self.off_policy, named)
        check_settings(self.min_coverage, self.low_coverage)
        check_training(self)
        if self.neftune_noise_alpha:
            raise NEFTUNE.error(alpha=self.neftune_noise_alpha)
        for name in (
            "num_generations",
            "num_iterations",
            "max_completion_length",
            "rollout_parts",
            "micro_batch_tokens",
            "teacher_batch_tokens",
        ):
            if getattr(self, name) is None or getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        StatesIn.of(self.teacher_states)
        saved = self.min_padding_saved
        is_number = isinstance(saved, int | float) and not isinstance(saved, bool)
        if saved is not None and not (is_number and saved >= 0):
            raise InputError(f"min_padding_saved must be a number and at least 0, not {saved!r}.")
        check_generations(self, named)
        self._take_reward(named)
        if self.num_iterations > 1 and self.save_strategy == "steps" and self.save_steps % self.num_iterations:
            raise InputError(
                f"save_steps = {self.save_steps} is not a multiple of num_iterations = {self.num_iterations}: a "
                "checkpoint would fall inside a batch of rollouts and could not be resumed exactly; change one of them."
            )

    def _take_objective(self) -> None:
        """Keep an objective that is given as an object; the field then has its import path, which can be logged."""
        given: Any = self.objective
        self._objective = None if isinstance(given, str) else check_objective(given)
        if self._objective is None:
            return
        if self.objective_options:
            raise InputError(
                "objective_options are for an objective that is named: this one is an object, which has its options."
            )
        kind = type(self._objective)
        self.objective = f"{kind.__module__}:{kind.__qualname__}"
        if is_dataclass(self._objective):
            values = {item.name: getattr(self._objective, item.name) for item in fields(self._objective) if item.init}
            self.objective_options = values or None

    def make_objective(self) -> Objective:
        """The objective that the configuration names, or the object that it was given."""
        if self._objective is not None:
            return self._objective
        return get(self.objective, **cast(dict[str, Any], self.objective_options or {}))

    def _take_reward(self, objective: Objective | None) -> None:
        """Check the reward, and keep one that is given as an object; the field then has its name for logs."""
        given: Any = self.reward
        self._given_reward: Reward | None = None
        if given is None:
            check_no_reward(self)
            return
        made = reward_of(given, cast(dict[str, Any] | None, self.reward_options))
        check_reward(self, objective)
        if not isinstance(given, str):
            self._given_reward, self.reward = made, made.name

    def make_reward(self) -> Reward | None:
        """The reward that the configuration names, or was given; None if it has none."""
        if self.reward is None or self._given_reward is not None:
            return self._given_reward
        return reward_of(self.reward, cast(dict[str, Any] | None, self.reward_options))

    def __getstate__(self) -> dict[str, Any]:
        """Without a given reward: checkpoints hold a pickle of the configuration, which a function may not go into."""
        return {**self.__dict__, "_given_reward": None}


def check_temperature(objective: Objective | None, temperature: float) -> None:
    """Raises InputError for a temperature without a meaning; objective: None if it is chosen later."""
    if not 0 < temperature < math.inf:
        raise InputError(f"temperature must be above 0 and finite, not {temperature}.")
    if objective is None or temperature == 1 or not objective.at_sampling_temperature:
        return
    if objective.signal is Signal.DENSE:
        raise InputError(
            f"objective {objective.name!r} with these options reads the teacher's whole distribution, which is that of "
            f"temperature 1, not {temperature}: set temperature = 1, or give the objective a top_k."
        )


def check_training(args: TrainingArguments) -> None:
    """Raises InputError for settings of any training that would fail only after the models are loaded."""
    if args.per_device_train_batch_size < 1 or args.gradient_accumulation_steps < 1:
        raise InputError(
            "per_device_train_batch_size and gradient_accumulation_steps must be at least 1, not "
            f"{args.per_device_train_batch_size} and {args.gradient_accumulation_steps}."
        )
    if not 0 < args.learning_rate < math.inf:
        raise InputError(f"learning_rate must be above 0 and finite, not {args.learning_rate}.")
    if args.max_steps == 0 or (args.max_steps < 0 and args.num_train_epochs <= 0):
        raise InputError(
            f"max_steps = {args.max_steps} and num_train_epochs = {args.num_train_epochs} leave no step: set one "
            "of them above 0."
        )
    for logger in args.report_to or []:
        if logger not in get_available_reporting_integrations():
            raise InputError(f"report_to names {logger!r}, which is not installed here: install it, or name another.")
