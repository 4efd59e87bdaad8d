"""The demo's pair as verl's plug-in sees it, and samples of its student."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill.demo.run import asset, message
from crossdistill.demo.task import problems
from crossdistill.integrations.verl.options import parse
from crossdistill.integrations.verl.scoring import Sample
from crossdistill.integrations.verl.teaching import Teaching


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
