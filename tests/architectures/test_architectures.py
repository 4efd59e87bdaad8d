"""Every causal language model of the installed transformers trains one step with ratio 1 and without a word."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from crossdistill.findings import FindingError
from crossdistill.train import CrossTokenizerConfig, CrossTokenizerTrainer
from tests.architectures.tiny import NAMES, build

pytestmark = pytest.mark.architectures
ASSETS = Path(str(files("crossdistill.demo") / "assets"))
PROMPTS = [{"prompt": [{"role": "user", "content": f"{number} plus two"}]} for number in ("one", "two", "six", "ten")]

_MULTIMODAL = "made for images or sound; its text part is no architecture of its own"
NOT_BUILT: dict[str, str] = {
    **dict.fromkeys(("blt", "emu3", "git", "mllama", "musicgen", "musicgen_melody", "phi4_multimodal"), _MULTIMODAL),
    "blt": "reads bytes in patches, by a model of its own",
    "dbrx": "its configuration has no rope_theta in this release",
    **dict.fromkeys(("dots3_note", "dots3_note_text"), "its sizes are named layer by layer"),
    **dict.fromkeys(
        ("gemma4_assistant", "gemma4_unified_assistant"), "drafts for another model, whose states it reads"
    ),
    "reformer": "takes sequences of one length alone in training mode",
    "xlnet": "is not causal: it predicts tokens in any order",
    "xlstm": "its generation keeps states of another shape than its sizes, in this release",
    "zamba2": "its shared layers fit the depth of a real one alone",
    **dict.fromkeys(("qwen4_exp", "qwen4_exp_text"), "its indexer has no default sizes"),
}
"""Why a tiny one cannot be built of a configuration alone, or does not run by itself."""
OTHER_HEADS: tuple[str, ...] = (
    *("bert", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert", "rembert", "roberta"),
    *(
        "roberta-prelayernorm",
        "roformer",
        "xlm-roberta",
        "xlm-roberta-xl",
        "inkling_text",
        "modernbert-decoder",
        "prophetnet",
        "roc_bert",
        "xmod",
    ),
)
"""Refused: they do more between the last hidden states and the logits than a linear layer does."""
NUMBERS: tuple[str, ...] = (
    *("bart", "bigbird_pegasus", "biogpt", "blenderbot", "blenderbot-small", "gpt_bigcode", "marian", "mbart", "mvp"),
    *("opt", "pegasus", "plbart", "seed_oss", "trocr", "xglm", "xlm"),
)
"""Their default configuration has dropout as a number, which is switched off and said."""
BY_CHANCE = {"control_token_sampled"}  # random weights sample any token


def known(names: Any) -> list[str]:
    """Those that the installed release has."""
    return [name for name in names if name in NAMES]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(ASSETS / "student", padding_side="left")


def trainer_of(name: str, tokenizer: Any, output: Path) -> CrossTokenizerTrainer:
    ids = {"vocab_size": len(tokenizer), "vocab_size_per_layer_input": len(tokenizer)}
    special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    model = build(name, ids | special | {"bos_token_id": tokenizer.eos_token_id})
    args = CrossTokenizerConfig(
        str(output),
        per_device_train_batch_size=4,
        max_steps=1,
        max_completion_length=16,
        low_coverage="ignore",  # random weights sample control tokens
        activation_checkpointing=model.supports_gradient_checkpointing,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
    )
    return CrossTokenizerTrainer(
        model,
        str(ASSETS / "teacher"),
        args,
        train_dataset=Dataset.from_list(PROMPTS),
        processing_class=tokenizer,
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {*NOT_BUILT, *OTHER_HEADS}])
def test_it_trains_with_ratio_1_and_without_a_word(name, tokenizer, tmp_path):
    trainer = trainer_of(name, tokenizer, tmp_path)
    trainer.train()
    (step,) = [entry for entry in trainer.state.log_history if "ratio" in entry]
    assert step["ratio"] == pytest.approx(1, abs=1e-4)
    assert step["policy_drift"] < 1e-5
    said = {finding.kind.name for finding in trainer.findings.findings if finding.kind.severity == "warning"}
    assert said - BY_CHANCE == ({"noise_switched_off"} if name in NUMBERS else set())
    assert not trainer.watchdog.warnings


@pytest.mark.parametrize("name", known(OTHER_HEADS))
def test_another_head_is_refused_by_name(name, tokenizer, tmp_path):
    with pytest.raises(FindingError, match="this architecture is not supported") as caught:
        trainer_of(name, tokenizer, tmp_path)
    assert caught.value.finding.kind.name in ("unsupported_head", "unsupported_head_width", "no_hidden_states")
