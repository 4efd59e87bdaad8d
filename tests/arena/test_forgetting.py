"""Bits per byte against the definition, one line at a time without padding."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill import ByteVocab
from crossdistill.arena.forgetting import bits_per_byte
from crossdistill.demo.run import asset

LINES = ["two hundred and forty", "", "seven", "one hundred plus two"]


def test_bits_per_byte_is_the_sum_over_lines_divided_by_their_bytes():
    tokenizer = AutoTokenizer.from_pretrained(asset("student"))
    model = AutoModelForCausalLM.from_pretrained(asset("student")).train()
    vocab = ByteVocab.from_tokenizer(tokenizer)
    bits = 0.0
    for line in LINES:
        before = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        ids = [before, *vocab.encode(line).ids.tolist()]
        with torch.no_grad():
            logprobs = model.eval()(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        bits -= sum(float(logprobs[k, ids[k + 1]]) for k in range(len(ids) - 1)) / math.log(2)
    model.train()
    assert bits_per_byte(model, tokenizer, LINES) == pytest.approx(bits / sum(map(len, LINES)), rel=1e-5)
    assert model.training


def test_no_text_has_no_bits():
    tokenizer = AutoTokenizer.from_pretrained(asset("student"))
    model = AutoModelForCausalLM.from_pretrained(asset("student"))
    with pytest.raises(ValueError, match="no line of text"):
        bits_per_byte(model, tokenizer, ["", "  "])
