"""What a run leaves behind, exported: the merged model is the adapter's, and nothing is half-written or lost."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill.errors import InputError, OutOfSpaceError
from crossdistill.runs import export as exporting
from crossdistill.runs.export import Export, export
from tests.cli.harness import run as cli
from tests.models import Pair, save_pair
from tests.runs.adapters import log_probabilities, save_adapter, save_base

EXACT = 1e-4
"""Nats between log-probabilities of two computations of one model in float32."""
ROUNDED = 0.25
"""Nats between a model and itself with weights rounded to bfloat16, of tokens with a probability above 1 %."""
ATTENTION = {"target_modules": ["q_proj", "v_proj"]}
KINDS: dict[str, dict[str, Any]] = {
    "attention": ATTENTION,
    "everything": {"target_modules": "all-linear"},
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "saved head": {**ATTENTION, "modules_to_save": ["lm_head"]},
    "saved embeddings": {**ATTENTION, "modules_to_save": ["embed_tokens"]},
    "tied on purpose": {**ATTENTION, "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    "single tokens": {**ATTENTION, "trainable_token_indices": [1, 5]},
    "more tokens": {**ATTENTION, "modules_to_save": ["embed_tokens", "lm_head"], "more_tokens": 3},
    "dora": {**ATTENTION, "use_dora": True, "use_rslora": True},
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`"),
    pytest.mark.filterwarnings("ignore:You have requested `ensure_weight_tying`"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`"),
]


def whole(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return save_pair(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_model_predicts_as_the_adapter(models, tmp_path, kind, tied):
    if kind == "tied on purpose" and not tied:
        pytest.skip("there is nothing to keep tied")
    base = save_base(models.student, tmp_path / "base", tied=tied)
    adapted = save_adapter(base, tmp_path / "adapter", **KINDS[kind])
    expected = log_probabilities(adapted)
    export(Export(tmp_path / "adapter", tmp_path / "merged", is_merged=True))
    merged = whole(tmp_path / "merged")
    assert (log_probabilities(merged) - expected).abs().max() < EXACT
    if kind != "more tokens":  # which have no counterpart in the base
        assert (expected - log_probabilities(whole(Path(base)))).abs().max() > 0.1
    assert merged.config.use_cache
    assert merged.generation_config.eos_token_id == whole(Path(base)).generation_config.eos_token_id
    tokenizer, given = (AutoTokenizer.from_pretrained(folder) for folder in (tmp_path / "merged", base))
    assert tokenizer.chat_template == given.chat_template
    assert tokenizer.get_vocab() == given.get_vocab()


def test_a_merge_is_in_the_dtype_of_the_base_unless_another_is_asked_for(models, tmp_path):
    base = save_base(models.student, tmp_path / "base", dtype=torch.bfloat16)
    expected = log_probabilities(save_adapter(base, tmp_path / "adapter", **ATTENTION))
    said = export(Export(tmp_path / "adapter", tmp_path / "merged", is_merged=True))
    assert "bfloat16" in said[0]
    merged = whole(tmp_path / "merged")
    assert merged.dtype == torch.bfloat16
    likely = expected > -4.6
    assert (log_probabilities(merged.float()) - expected)[likely].abs().max() < ROUNDED
    export(Export(tmp_path / "adapter", tmp_path / "float", is_merged=True, dtype="float32"))
    assert (log_probabilities(whole(tmp_path / "float")) - expected).abs().max() < EXACT


def test_weights_in_several_files(models, tmp_path):
    export(Export(Path(models.student), tmp_path / "out", shard_size="20KB"))
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 2
    assert torch.equal(log_probabilities(whole(tmp_path / "out")), log_probabilities(whole(Path(models.student))))


def test_an_adapter_alone_names_its_base_wherever_it_is_read(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_base(models.student, tmp_path / "base")
    adapted = save_adapter("base", tmp_path / "adapter", **ATTENTION)
    assert "name a hub id with --base" in export(Export(tmp_path / "adapter", tmp_path / "out"))[-1]
    monkeypatch.chdir("/")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tmp_path / "base")
    read = PeftModel.from_pretrained(whole(tmp_path / "base"), tmp_path / "out")
    assert torch.equal(log_probabilities(read), log_probabilities(adapted))
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
    export(Export(tmp_path / "adapter", tmp_path / "named", base="org/model"))
    config = json.loads((tmp_path / "named" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "org/model"


def test_the_card_says_what_was_made_of_it(models, tmp_path):
    save_adapter(models.student, tmp_path / "adapter", **ATTENTION)
    (tmp_path / "adapter" / "README.md").write_text("---\nlicense: mit\ntags: [crossdistill]\n---\n\n# Mine\n")
    export(Export(tmp_path / "adapter", tmp_path / "out", is_merged=True, base=models.student))
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert (card.data.library_name, card.data.license) == ("transformers", "mit")
    assert card.text.strip().startswith("# Mine")
    assert str(tmp_path) not in str(card)
    assert "merged into" in card.text
    assert "differ by up to" in card.text


# ---- what is exported -----------------------------------------------------------------------------------------------


@pytest.fixture
def run(models: Pair, tmp_path: Path) -> Path:
    """A run's folder with two checkpoints, the older one of other weights; not finished."""
    folder = tmp_path / "run"
    for step, model in ((2, models.teacher), (10, models.student)):
        shutil.copytree(model, folder / "checkpoints" / f"checkpoint-{step}")
        (folder / "checkpoints" / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    (folder / "checkpoints" / "checkpoint-20").mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def width(folder: Path) -> int:
    return int(whole(folder).config.hidden_size)


def test_the_newest_whole_checkpoint_of_an_unfinished_run(run, tmp_path):
    (note, _) = export(Export(run, tmp_path / "out"))
    assert "not finished: its newest checkpoint, of step 10" in note
    assert width(tmp_path / "out") == 32


def test_a_named_checkpoint_and_the_model_of_a_finished_run(run, models, tmp_path):
    export(Export(run, tmp_path / "named", checkpoint=2))
    assert width(tmp_path / "named") == 48
    shutil.copytree(models.teacher, run / "model")
    (run / "run.json").write_text("{}")
    export(Export(run, tmp_path / "final"))
    assert width(tmp_path / "final") == 48
    export(Export(run / "checkpoints", tmp_path / "trainer"))  # the output_dir of a trainer from Python
    assert width(tmp_path / "trainer") == 32


# ---- refusals: nothing is written -----------------------------------------------------------------------------------


def refused(asked: Export) -> str:
    before = {path for path in asked.output.parent.rglob("*") if "base" not in path.parts}
    with pytest.raises(InputError) as refusal:
        export(asked)
    assert {path for path in asked.output.parent.rglob("*") if "base" not in path.parts} == before
    return str(refusal.value)


def test_a_folder_that_is_not_empty(models, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    assert "is not empty: name a new one" in refused(Export(Path(models.student), tmp_path / "out"))


def test_what_holds_nothing_to_export(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no run and no model: name" in refused(Export(tmp_path / "empty", tmp_path / "out"))
    assert "(it has: 2, 10): name another" in refused(Export(run, tmp_path / "out", checkpoint=20))
    shutil.rmtree(run / "checkpoints")
    assert "not finished and has no whole checkpoint yet" in refused(Export(run, tmp_path / "out"))


def test_a_base_that_is_not_found_or_quantised(models, tmp_path):
    base = Path(save_base(models.student, tmp_path / "base"))
    save_adapter(str(base), tmp_path / "adapter", **ATTENTION)
    asked = Export(tmp_path / "adapter", tmp_path / "out", is_merged=True)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "fp8"}}))
    assert "is quantised" in refused(asked)
    shutil.rmtree(base)
    assert "is not found here: name its folder or hub id with --base" in refused(asked)
    export(Export(tmp_path / "adapter", tmp_path / "out", is_merged=True, base=models.student))


def test_options_that_do_not_belong(models, tmp_path):
    save_adapter(models.student, tmp_path / "adapter", **ATTENTION)
    assert "add --merge" in refused(Export(tmp_path / "adapter", tmp_path / "out", dtype="bfloat16"))
    assert "leave out --base" in refused(Export(Path(models.student), tmp_path / "out", base="org/model"))
    assert "--shard-size '5' is no size" in refused(Export(Path(models.student), tmp_path / "out", shard_size="5"))
    assert "no dtype 'bf17'" in refused(Export(Path(models.student), tmp_path / "out", dtype="bf17"))


def test_a_damaged_adapter_and_one_of_another_model(models, tmp_path):
    save_adapter(models.student, tmp_path / "adapter", **ATTENTION)
    message = refused(Export(tmp_path / "adapter", tmp_path / "out", is_merged=True, base=models.teacher))
    assert "the adapter in" in message
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "damaged" in refused(Export(tmp_path / "adapter", tmp_path / "out"))


def test_a_full_disk_leaves_nothing(models, tmp_path, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "_save_tokenizer", full)
    with pytest.raises(OutOfSpaceError):
        export(Export(Path(models.student), tmp_path / "out"))
    assert not list(tmp_path.iterdir())


def test_the_command(models, tmp_path):
    save_adapter(models.student, tmp_path / "adapter", **ATTENTION)
    result = cli("export", str(tmp_path / "adapter"), "--merge", "--output", str(tmp_path / "out"))
    assert result.code == 0, result.err
    assert "exported to" in result.out
    again = cli("export", str(tmp_path / "adapter"), "--merge", "--output", str(tmp_path / "out"))
    assert (again.code, "is not empty" in again.err) == (2, True)
