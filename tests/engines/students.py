"""Students beside the demo's: with an output layer of their own, and a teacher of the same vocabulary."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill.demo.run import asset


def save_untied(folder: Path, noise: float = 0.0) -> str:
    """The demo's student with an output layer that is not its input embedding; `noise` moves all its weights."""
    model = AutoModelForCausalLM.from_pretrained(asset("student"), dtype=torch.float32)
    head = model.get_input_embeddings().weight.detach().clone()
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(head)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + noise * torch.randn_like(parameter))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(asset("student")).save_pretrained(folder)
    return str(folder)
