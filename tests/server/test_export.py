"""What `crossdistill export` writes, served by a real vLLM: the adapter on its base, and the merged model."""

from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from transformers import AutoTokenizer

from crossdistill.chat import render_prompt
from crossdistill.demo.run import asset, message
from crossdistill.demo.task import problems
from crossdistill.runs.export import Export, export
from tests.runs.adapters import save_adapter
from tests.server.conftest import START_S, serving
from tests.train.harness import load, sampled_logprobs

pytestmark = pytest.mark.server

NATS = 1e-3
"""Tolerance of a log-probability: both compute in float32, in different orders."""
LORA = {"r": 8, "target_modules": ["q_proj", "v_proj", "up_proj", "down_proj"]}
NAME = "distilled"
OPTIONS = ("--max-model-len", "256")
UNCOMPILED = {"TORCHDYNAMO_DISABLE": "1"}
"""Kernels of adapters are otherwise compiled at the first request, for longer than vLLM waits on a busy machine."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The demo's student with an adapter: the adapter as it was saved, exported, and merged."""
    folder = tmp_path_factory.mktemp("export")
    names = {name: folder / name for name in ("saved", "adapter", "merged")}
    save_adapter(asset("student"), names["saved"], scale=0.05, **LORA)
    export(Export(names["saved"], names["adapter"]))
    export(Export(names["saved"], names["merged"], is_merged=True))
    return names


@pytest.fixture(scope="module")
def adapted(folders: dict[str, Path]) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(load(asset("student")), folders["saved"]).eval()


def texts(tokenizer: Any) -> list[tuple[list[int], list[int]]]:
    """Prompts and their right answers, in ids."""
    asked = problems("test", 8, seed=1)
    return [
        (render_prompt(tokenizer, message(one)), tokenizer(one.answer, add_special_tokens=False)["input_ids"])
        for one in asked
    ]


def served_logprobs(url: str, model: str, prompt: list[int], answer: list[int]) -> torch.Tensor:
    body = {"model": model, "prompt": [*prompt, *answer], "max_tokens": 1, "prompt_logprobs": 0}
    found = httpx.post(f"{url}/v1/completions", json=body, timeout=START_S).raise_for_status().json()
    rows = found["choices"][0]["prompt_logprobs"][len(prompt) :]
    return torch.tensor([row[str(token)]["logprob"] for row, token in zip(rows, answer, strict=True)])


def largest_difference(url: str, model: str, reference: Any, folder: Path) -> float:
    found = []
    for prompt, answer in texts(AutoTokenizer.from_pretrained(folder)):
        with torch.no_grad():
            expected = sampled_logprobs(reference, prompt, answer)
        found.append(float((served_logprobs(url, model, prompt, answer) - expected).abs().max()))
    return max(found)


def test_an_adapter_on_its_base(folders, adapted, tmp_path):
    lora = ("--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"{NAME}={folders['adapter']}")
    with serving(asset("student"), tmp_path / "log", *OPTIONS, *lora, **UNCOMPILED) as url:
        difference = largest_difference(url, NAME, adapted, folders["adapter"])
        of_base = largest_difference(url, "student", adapted, folders["adapter"])
    print(f"\nadapter served by vLLM: {difference:.2g} nats from transformers; its base: {of_base:.2g}")
    assert difference < NATS < 0.1 < of_base


def test_a_merged_model(folders, adapted, tmp_path):
    with serving(folders["merged"], tmp_path / "log", *OPTIONS) as url:
        difference = largest_difference(url, "merged", adapted, folders["merged"])
        prompt = message(problems("test", 1, seed=1)[0])
        body = {"model": "merged", "messages": prompt, "temperature": 0, "max_tokens": 24}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=START_S).raise_for_status().json()
    print(f"\nmerged model served by vLLM: {difference:.2g} nats from transformers")
    assert difference < NATS
    tokenizer = AutoTokenizer.from_pretrained(folders["merged"])
    ids = torch.tensor([render_prompt(tokenizer, prompt)])
    with torch.no_grad():
        written = load(str(folders["merged"])).generate(ids, do_sample=False, max_new_tokens=24)[0, ids.shape[1] :]
    expected = tokenizer.decode(written, skip_special_tokens=True)
    assert answer["choices"][0]["message"]["content"] == expected
