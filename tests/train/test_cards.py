"""One card beside every saved model, ours: TRL and PEFT write no other."""

from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from peft import LoraConfig

from tests.train.harness import make_trainer


@pytest.mark.parametrize("lora", [None, {"r": 2, "target_modules": ["q_proj"]}], ids=["whole", "adapter"])
def test_models_and_checkpoints_have_one_card(pair, output, lora):
    peft_config = None if lora is None else LoraConfig(task_type="CAUSAL_LM", **lora)
    options = {"peft_config": peft_config}
    trainer = make_trainer(pair, output, max_steps=2, save_strategy="steps", save_steps=1, trainer_options=options)
    trainer.train()
    trainer.save_model(str(output / "model"))
    found = sorted(str(path.relative_to(output)) for path in output.rglob("README.md"))
    assert found == ["README.md", "checkpoint-1/README.md", "checkpoint-2/README.md", "model/README.md"]
    for folder, step in ((".", 2), ("checkpoint-1", 1), ("model", 2)):
        text = (output / folder / "README.md").read_text()
        assert f"| steps | {step} |" in text
        assert text.count("\n# ") == 1
        assert "More Information Needed" not in text
    card = ModelCard.load(output / "model" / "README.md")
    assert card.data.library_name == ("transformers" if lora is None else "peft")
    assert f"`{Path(pair.teacher).name}` (a folder)" in card.text
    assert ("| adapter |" in card.text) == (lora is not None)
    assert "| objective | `dpca`" in card.text
    assert "student rollout" in card.text


def test_a_card_on_request(pair, output):
    trainer = make_trainer(pair, output)
    trainer.create_model_card()
    assert "| steps | 0 |" in (output / "README.md").read_text()
