"""What must hold in verl's configuration, so that its loss is the one that the advantages are made for."""

from collections.abc import Mapping
from typing import Any

from crossdistill.errors import InputError
from crossdistill.integrations.verl import NAME, TOOLS
from crossdistill.integrations.verl.options import VerlOptions, parse
from crossdistill.integrations.verl.teaching import Teaching

DRIVER = "crossdistill.integrations.verl.driver"
SEAMS: dict[str, Any] = {
    "algorithm.adv_estimator": NAME,
    "actor_rollout_ref.rollout.agent.agent_loop_manager_class": f"{DRIVER}.DistillationManager",
    "trainer.v1.sampler.custom_sampler.path": f"pkg://{DRIVER}",
    "trainer.v1.sampler.custom_sampler.name": "DistillationBuffer",
    "trainer.v1.trainer_mode": "sync",
}
"""Keys by which verl calls this plug-in -> their values."""
CALLBACK = "trainer.checkpoint_callback_class", f"{DRIVER}.SaveWatch"
"""Key and value by which the watchdog's state goes into checkpoints; your own callback may take its place."""
_SHAPED = "the log-probabilities of the samples would be those of the tokens that are left, not the policy's"
REQUIRED: dict[str, tuple[Any, str]] = {
    "actor_rollout_ref.actor.policy_loss.loss_mode": ("vanilla", "advantages belong to the clipped policy loss"),
    "actor_rollout_ref.actor.loss_agg_mode": ("token-mean", "every supervised token counts alike"),
    "actor_rollout_ref.actor.use_kl_loss": (False, "the teacher's signal is the only one"),
    "algorithm.use_kl_in_reward": (False, "the place of the rewards holds advantages"),
    "actor_rollout_ref.actor.entropy_coeff": (0, "the teacher's signal is the only one"),
    "actor_rollout_ref.rollout.calculate_log_probs": (True, "credit needs the log-probabilities of the samples"),
    "actor_rollout_ref.rollout.logprobs_mode": ("processed_logprobs", "both models are compared at its temperature"),
    "actor_rollout_ref.rollout.top_p": (1, _SHAPED),
    "actor_rollout_ref.rollout.top_k": (-1, _SHAPED),
    "reward.reward_model.enable": (False, "its rewards would take the place of the advantages"),
    "trainer.critic_warmup": (0, "the student would not learn in its steps"),
    "trainer.v1.sampler.sync_refill_failed_groups": (False, "prompts would be drawn one by one"),
    "trainer.use_v1": (True, "verl's older trainer lacks the seams"),
    "algorithm.filter_groups.enable": (False, "responses are not rewarded as a whole"),
    "algorithm.rollout_correction.bypass_mode": (True, "the ratio of the loss is that to the policy that sampled"),
    "algorithm.rollout_correction.rollout_is": (None, "the ratio of the loss corrects for the sampler"),
    "algorithm.rollout_correction.rollout_rs": (None, "no response may leave the loss without being counted"),
    "distillation.enabled": (False, "verl's own distillation gives the student's token ids to the teacher"),
}
"""Keys -> the value that they must have, and why."""
_CLIP = "actor_rollout_ref.actor.optim.clip_grad"
_LOOPS = (NAME, TOOLS)


def check_settings(config: Mapping[str, Any], loops: tuple[str, ...] = _LOOPS) -> VerlOptions:
    """Check verl's configuration.

    Args:
        config: all of it, as plain values.
        loops: names of agent loops that score.

    Returns:
        The options in its section ``crossdistill``.

    Raises:
        InputError: the first thing that cannot work.
    """
    section = config.get(NAME)
    if not section:
        raise InputError(
            "verl's configuration has no section crossdistill: add +crossdistill.teacher=URL and "
            "+crossdistill.teacher_tokenizer=ORG/MODEL, or let `crossdistill verl-config` write it."
        )
    options = parse(section)
    for key, value in SEAMS.items():
        if look_up(config, key) != value:
            raise InputError(f"{key} is {look_up(config, key)!r}: the plug-in needs {key}={value}.")
    for key, (value, why) in REQUIRED.items():
        if look_up(config, key) != value:
            raise InputError(f"{key} is {look_up(config, key)!r}, and {why}: set {key}={_as_override(value)}.")
    if look_up(config, _CLIP) == 0:
        raise InputError(f"{_CLIP} is 0, by which verl scales every gradient to 0: set {_CLIP}=inf to clip nothing.")
    loop = look_up(config, "actor_rollout_ref.rollout.agent.default_agent_loop")
    if loop not in loops and not look_up(config, "actor_rollout_ref.rollout.agent.agent_loop_config_path"):
        raise InputError(
            f"actor_rollout_ref.rollout.agent.default_agent_loop is {loop!r}, which does not ask the teacher: set it "
            f"to {NAME}, or to {TOOLS} for tools."
        )
    return options


def teaching_of(config: Mapping[str, Any], options: VerlOptions, tokenizer: Any) -> Teaching:
    """The teachers of a run.

    Args:
        config: verl's, as plain values.
        options: in its section ``crossdistill``.
        tokenizer: the student's, as verl has loaded it.
    """
    return Teaching(
        options,
        look_up(config, "actor_rollout_ref.model.path"),
        tokenizer,
        look_up(config, "data.apply_chat_template_kwargs") or {},
        float(look_up(config, "actor_rollout_ref.rollout.temperature")),
    )


def look_up(config: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """The value of a key with dots; `default` if there is none.

    Example:
        >>> look_up({"data": {"seed": 7}}, "data.seed"), look_up({"data": {}}, "trainer.device")
        (7, None)
    """
    value: Any = config
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return default
        value = value[name]
    return value


def _as_override(value: Any) -> str:
    return "null" if value is None else str(value)
