"""A teacher of random weights: the shape of one model, and the tokenizer of another.

python -m benchmarks.steps.random_teacher models/smollm2-135m-instruct models/tokenizers/qwen3 --output models/random

For times alone. TRL's GOLD aligns tokenizers of byte-level BPE only, which leaves out Gemma's.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from crossdistill.chat import ensure_template

END = "<|endoftext|>"


def main(
    like: Annotated[Path, typer.Argument(help="Folder of the model whose shape it gets.")],
    tokenizer: Annotated[Path, typer.Argument(help="Folder of its tokenizer.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
) -> None:
    """Make a teacher of random weights."""
    torch.manual_seed(0)
    own = AutoTokenizer.from_pretrained(tokenizer)
    own.eos_token = own.eos_token or END  # published without their settings, tokenizers name none
    own.pad_token = own.pad_token or own.eos_token
    ensure_template(own)
    ends = {"eos_token_id": own.eos_token_id, "bos_token_id": None, "pad_token_id": own.pad_token_id}
    config = AutoConfig.from_pretrained(like, vocab_size=len(own), **ends)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.generation_config = GenerationConfig(**ends)
    model.save_pretrained(output)
    own.save_pretrained(output)


if __name__ == "__main__":
    typer.run(main)
