"""The demo's pair as verl's plug-in sees it, and samples of its student."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill.demo.run import asset, message
from crossdistill.demo.task import problems
from crossdistill.integrations.verl.options import parse
from crossdistill.integrations.verl.run_file import nested
from crossdistill.integrations.verl.scoring import Sample
from crossdistill.integrations.verl.teaching import Teaching

DEFAULTS: dict[str, Any] = {
    "actor_rollout_ref.actor.entropy_coeff": 0,
    "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
    "actor_rollout_ref.actor.optim.clip_grad": 1.0,
    "actor_rollout_ref.actor.policy_loss.loss_mode": "vanilla",
    "actor_rollout_ref.actor.use_kl_loss": False,
    "actor_rollout_ref.rollout.agent.agent_loop_config_path": None,
    "actor_rollout_ref.rollout.agent.default_agent_loop": "single_turn_agent",
    "actor_rollout_ref.rollout.calculate_log_probs": True,
    "actor_rollout_ref.rollout.logprobs_mode": "processed_logprobs",
    "actor_rollout_ref.rollout.temperature": 1.0,
    "actor_rollout_ref.rollout.top_k": -1,
    "actor_rollout_ref.rollout.top_p": 1,
    "algorithm.adv_estimator": "gae",
    "algorithm.filter_groups.enable": False,
    "algorithm.rollout_correction.bypass_mode": False,
    "algorithm.rollout_correction.rollout_is": None,
    "algorithm.rollout_correction.rollout_rs": None,
    "algorithm.use_kl_in_reward": False,
    "distillation.enabled": False,
    "reward.reward_model.enable": False,
    "trainer.critic_warmup": 0,
    "trainer.use_v1": True,
    "trainer.v1.sampler.sync_refill_failed_groups": False,
    "trainer.v1.trainer_mode": "sync",
}
"""Of verl 0.9.1; `make test-verl` compares them with verl's own."""


def composed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with dots in their keys on top of verl's own, as far as the plug-in checks them."""
    return nested({**DEFAULTS, **settings})


def flat(tables: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Tables as settings with dots in their keys."""
    items = ((f"{path}{key}", value) for key, value in tables.items())
    return {
        key: value
        for name, entry in items
        for key, value in (flat(entry, f"{name}.") if isinstance(entry, dict) and entry else {name: entry}).items()
    }


def teaching(**options: Any) -> Teaching:
    tokenizer = AutoTokenizer.from_pretrained(asset("student"))
    return Teaching(parse({"teacher": asset("teacher"), **options}), asset("student"), tokenizer, {}, 1.0)


@torch.no_grad()
def samples(num: int = 3, budget: int = 24) -> list[Sample]:
    """Greedy answers of the student, with their log-probabilities."""
    tokenizer = AutoTokenizer.from_pretrained(asset("student"))
    model = AutoModelForCausalLM.from_pretrained(asset("student"), dtype=torch.float32).eval()
    return [_sample(model, tokenizer, message(problem), budget) for problem in problems("train", num, seed=9)]


def _sample(model: Any, tokenizer: Any, prompt: Sequence[Any], budget: int) -> Sample:
    prompt_ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True)["input_ids"]
    out = model.generate(torch.tensor([prompt_ids]), max_new_tokens=budget, do_sample=False, pad_token_id=0)
    ids = out[0, len(prompt_ids) :].tolist()
    logits = model(out).logits[0, len(prompt_ids) - 1 : -1].log_softmax(-1)
    logprobs = [logits[place, token].item() for place, token in enumerate(ids)]
    return Sample(prompt, prompt_ids, ids, [1] * len(ids), logprobs, [{"role": "assistant", "content": ""}])
