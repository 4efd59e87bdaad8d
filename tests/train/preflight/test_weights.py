"""Weights are what the files say, on both sides: what does not fit is refused before weights are read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from crossdistill.findings import FindingError
from crossdistill.train.loading import load_model
from crossdistill.train.preflight.weights import check_weights
from tests import tiny_models
from tests.models import Pair
from tests.train.harness import make_trainer

Change = Callable[[Path], Any]


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def renamed(to: Callable[[str], str | None]) -> Change:
    """Writes the weights under other names; None leaves one out."""

    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        kept = {new: value for name, value in load_file(path).items() if (new := to(name)) is not None}
        save_file(kept, path, metadata={"format": "pt"})

    return change


def added(*names: str) -> Change:
    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        save_file({**load_file(path), **{name: torch.ones(2) for name in names}}, path, metadata={"format": "pt"})

    return change


def sharded(folder: Path) -> list[Path]:
    model = load_model("it", str(folder), {})
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="10KB")
    return sorted(folder.glob("model-*.safetensors"))


def as_torch(folder: Path) -> Path:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


def as_torch_shards(folder: Path) -> list[Path]:
    shards = sharded(folder)
    index = folder / "model.safetensors.index.json"
    entries = json.loads(index.read_text().replace("model-", "pytorch_model-").replace(".safetensors", ".bin"))
    index.unlink()
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(entries))
    for path in shards:
        torch.save(
            load_file(path), folder / path.name.replace("model-", "pytorch_model-").replace("safetensors", "bin")
        )
        path.unlink()
    return sorted(folder.glob("pytorch_model-*.bin"))


def with_dtype(dtype: torch.dtype, which: str = "") -> Change:
    """Writes some weights as codes, without their scales."""

    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        coded = {name: (value * 50).to(dtype) if which in name else value for name, value in load_file(path).items()}
        save_file(coded, path, metadata={"format": "pt"})

    return change


def with_a_tensor_in_two_files(folder: Path, is_other: bool = True) -> None:
    first, second, *_ = sharded(folder)
    name, value = next(iter(load_file(first).items()))
    save_file({**load_file(second), name: value + is_other}, second, metadata={"format": "pt"})


def with_a_tensor_in_two_torch_files(folder: Path) -> None:
    first, second, *_ = as_torch_shards(folder)
    name, value = next(iter(torch.load(first).items()))
    torch.save({**torch.load(second), name: value + 1}, second)


def with_a_tensor_in_another_file(folder: Path) -> None:
    first, second, *_ = sharded(folder)
    (name, value), *rest = load_file(first).items()
    save_file(dict(rest), first, metadata={"format": "pt"})
    save_file({**load_file(second), name: value}, second, metadata={"format": "pt"})


def with_a_layer_less_in_the_configuration(folder: Path) -> None:
    layers = json.loads((folder / "config.json").read_text())["num_hidden_layers"]
    edit(folder, num_hidden_layers=layers - 1, num_nextn_predict_layers=1)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def with_zeros(path: Path) -> None:
    """As of a download that left a part out."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 500] = bytes(500)
    path.write_bytes(content)


def without_a_shard(folder: Path) -> None:
    sharded(folder)[1].unlink()


def with_a_cut_shard(folder: Path) -> None:
    cut(sharded(folder)[1])


def with_shards_in_the_wrong_place(folder: Path) -> None:
    first, second, *_ = sharded(folder)
    second.write_bytes(first.read_bytes())


def with_an_index(text: str) -> Change:
    def change(folder: Path) -> None:
        sharded(folder)
        (folder / "model.safetensors.index.json").write_text(text)

    return change


def as_pointer(name: str) -> Change:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    return lambda folder: (folder / name).write_text(pointer)


FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}
FAULTS: dict[str, tuple[Change, str]] = {
    "torch.compile": (
        renamed(lambda name: f"_orig_mod.{name}"),
        r"do not fit LlamaForCausalLM \(\d+ missing: lm_head.weight, .*unexpected: _orig_mod.lm_head.weight, .*\): "
        r"they were saved from torch.compile; save them without '_orig_mod\.'\.",
    ),
    "DDP": (renamed(lambda name: f"module.{name}"), r"saved from DistributedDataParallel; .* without 'module\.'"),
    "part of it compiled": (renamed(lambda name: name.replace("model.", "model._orig_mod.")), "from torch.compile"),
    "a prefix": (renamed(lambda name: f"student.{name}"), r"their names begin with 'student\.'; save them without it"),
    "an adapter": (
        renamed(lambda name: f"base_model.model.{name.replace('q_proj.', 'q_proj.base_layer.')}"),
        "they are an adapter's; merge it",
    ),
    "adapter beside": (added("model.layers.0.self_attn.q_proj.lora_A.default.weight"), "are an adapter's; merge it"),
    "no norm": (
        renamed(lambda name: None if name == "model.norm.weight" else name),
        r"\(1 missing: model.norm.weight\): fetch or save",
    ),
    "no head": (renamed(lambda name: None if name == "lm_head.weight" else name), "they have no output layer"),
    "one layer too few": (lambda folder: edit(folder, num_hidden_layers=4), "num_hidden_layers = 4 and layer [12] is"),
    "one layer too many": (
        added("model.layers.7.mlp.up_proj.weight"),
        r"\(1 unexpected: .*\): config.json says num_hidden_layers = \d and they have layer 7; correct one",
    ),
    "another vocabulary": (
        lambda folder: edit(folder, vocab_size=900),
        r"lm_head.weight is \[\d+, \d+\], not \[900, \d+\], .* vocab_size = 900 and the weights say \d+; correct",
    ),
    "another width": (lambda folder: edit(folder, intermediate_size=40), "config.json says intermediate_size = 40 and"),
    "another architecture": (
        renamed(lambda name: name.replace("self_attn", "attention").replace("mlp", "feed")),
        "they are of another architecture, or damaged",
    ),
    "bias": (added("model.layers.0.self_attn.q_proj.bias"), r"\(1 unexpected: model.layers.0.self_attn.q_proj.bias\)"),
    "cut": (lambda folder: cut(folder / "model.safetensors"), r"model.safetensors are damaged \(.*\): fetch or save"),
    "empty": (lambda folder: (folder / "model.safetensors").write_bytes(b""), r"are damaged \(it is empty\)"),
    "a page": (lambda folder: (folder / "model.safetensors").write_text("<html>no</html>"), r"are damaged \("),
    "a pointer": (as_pointer("model.safetensors"), "model.safetensors is a git-lfs pointer, not the file itself: run"),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        r"holds no weights .*\(no file of weights\)",
    ),
    "other weights": (
        lambda folder: (folder / "model.safetensors").rename(folder / "model.onnx"),
        r"holds no weights that can be loaded \(only model.onnx\): give one",
    ),
    "an adapter's configuration": (
        lambda folder: (folder / "adapter_config.json").write_text("{}"),
        r"holds an adapter \(adapter_config.json\) beside a model, and .*: take it out of the folder, or merge it",
    ),
    "GGUF alone": (
        lambda folder: (folder / "model.safetensors").rename(folder / "model.gguf"),
        r"\(only model.gguf, which is read if gguf_file in the model_init_kwargs of its side names it\)",
    ),
    "no index": (
        lambda folder: [sharded(folder), (folder / "model.safetensors.index.json").unlink()],
        r"holds no weights that can be loaded \(only model-00001-of-",
    ),
    "a shard is missing": (without_a_shard, r"index.json names 1 file that the folder lacks \(model-00002-of-"),
    "a shard is cut": (with_a_cut_shard, r"model-00002-of-.* are damaged \("),
    "a shard is another": (with_shards_in_the_wrong_place, r"model-00002-of-.* are damaged \(.* looks in it for "),
    "an index is cut": (
        with_an_index('{"weight_map": {"a'),
        r"index.json are damaged \(it is no index: JSOND",
    ),
    "an index is a list": (with_an_index("[1]"), r"index.json are damaged \(it is no index: TypeError"),
    "an index is empty": (with_an_index('{"weight_map": {}}'), "its weight_map does not name a file for each tensor"),
    "a cut .bin": (lambda folder: cut(as_torch(folder)), r"pytorch_model.bin are damaged \(it was cut short\)"),
    "a page as .bin": (lambda folder: as_torch(folder).write_text("<html>"), r"damaged \(it is no file of torch\)"),
    "zeros in a .bin": (
        lambda folder: with_zeros(as_torch(folder)),
        r"pytorch_model.bin are damaged \(the checksum of its part \S+ is another\): fetch or save",
    ),
    "an unknown activation": (
        lambda folder: edit(folder, hidden_act="nope"),
        r"the configuration of .* cannot be used \(KeyError: 'nope'.*\): correct its config.json, or fetch it again",
    ),
    "no heads of keys": (
        lambda folder: edit(folder, num_key_value_heads=0),
        r"the configuration of .* cannot be used \(ZeroDivisionError: .*\): correct its config.json, or fetch it again",
    ),
    "a list as .bin": (
        lambda folder: torch.save([torch.ones(2)], as_torch(folder)),
        r"pytorch_model.bin are damaged \(it holds a list, not tensors by name\): fetch or save",
    ),
    "a training state as .bin": (
        lambda folder: torch.save({"epoch": 3, "model": {}}, as_torch(folder)),
        r"pytorch_model.bin are damaged \(its 'epoch' is a int, not a tensor",
    ),
    "a module as .bin": (
        lambda folder: torch.save(torch.nn.Linear(2, 2), as_torch(folder)),
        r"pytorch_model.bin are damaged \(it holds other objects than tensors, which are not unpickled\)",
    ),
    "a layer less than there are": (
        with_a_layer_less_in_the_configuration,
        r"unexpected: model.layers.\d.*\): config.json says num_hidden_layers = \d and they have layer \d; correct one",
    ),
    "int8": (
        with_dtype(torch.int8),
        r"are quantised \(\S+ is I8, .*\), and its config.json has no quantization_config that says how: fetch",
    ),
    "uint8 in an MLP": (with_dtype(torch.uint8, "layers.0.mlp"), r"are quantised \(model.layers.0.mlp\S+ is U8, "),
    "float8": (with_dtype(torch.float8_e4m3fn, "proj"), r"are quantised \(model.layers.0.*_proj.weight is F8_E4M3, "),
    "int8 as .bin": (
        lambda folder: [with_dtype(torch.int8, "o_proj")(folder), as_torch(folder)],
        r"are quantised \(model.layers.0.self_attn.o_proj.weight is int8",
    ),
    "a tensor in two files": (
        with_a_tensor_in_two_files,
        r"the tensor \S+ is in \S+/model-00001-\S+ and, with other values, in model-00002-\S+: fetch or save",
    ),
    "a tensor in two files of torch": (with_a_tensor_in_two_torch_files, r"and, with other values, in pytorch_model-0"),
    "a tensor in another file": (
        with_a_tensor_in_another_file,
        r"index.json looks for the tensor \S+ in model-00001-\S+, and it is in model-00002-\S+: fetch or save",
    ),
    "FP8 without scales": (
        lambda folder: [with_dtype(torch.float8_e4m3fn, "proj")(folder), edit(folder, quantization_config=FP8)],
        r"are of FP8, and their scales are missing \(model.layers.0.\S+_proj.weight_scale_inv, .*\): fetch the model",
    ),
    "no architecture": (
        lambda folder: edit(folder, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
        r"is quantised, and cannot be loaded so here \(.*bitsandbytes.*\): install what is missing",
    ),
    "an unknown quantisation": (
        lambda folder: edit(folder, quantization_config={"quant_method": "own"}),
        r"is quantised, and .* \(transformers does not know the method 'own'\)",
    ),
    "a classifier": (
        lambda folder: edit(folder, architectures=["LlamaForSequenceClassification"]),
        "is a LlamaForSequenceClassification, which is no decoder that writes text",
    ),
}


@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_one_sentence_on_both_sides(pair: Pair, tmp_path: Path, side: str, fault: str) -> None:
    change, message = FAULTS[fault]
    folder = Path(shutil.copytree(getattr(pair, side), tmp_path / "model"))
    change(folder)
    with pytest.raises(FindingError, match=message) as caught:
        check_weights(side, str(folder), {})
    assert str(caught.value).count(str(folder)) >= 1


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_the_trainer_checks_before_it_loads(
    pair: Pair, tmp_path: Path, output: Path, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("crossdistill.train.loading.load_model", refuse)
    folder = Path(shutil.copytree(getattr(pair, side), tmp_path / "model"))
    renamed(lambda name: f"module.{name}")(folder)
    with pytest.raises(FindingError, match=rf"the weights of the {side} '{folder}' do not fit LlamaForCausalLM"):
        make_trainer(pair, output, **{side: str(folder)})


@pytest.mark.parametrize("fault", ["torch.compile", "no norm", "another vocabulary", "bias"])
def test_files_of_torch_are_compared_alike(pair: Pair, tmp_path: Path, fault: str) -> None:
    change, message = FAULTS[fault]
    folder = Path(shutil.copytree(pair.teacher, tmp_path / "model"))
    change(folder)
    as_torch(folder)
    with pytest.raises(FindingError, match=message):
        check_weights("teacher", str(folder), {})
    with pytest.raises(FindingError, match=message):
        load_model("the teacher 'it'", str(folder), {})


# ---- what is found only when weights are read -----------------------------------------------------------------------


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_what_a_library_says_is_one_sentence(pair: Pair, output: Path, side: str, monkeypatch: Any) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise RuntimeError("a kernel is missing\nand more")

    monkeypatch.setattr(transformers.LlamaForCausalLM, "__init__", fail)
    with pytest.raises(FindingError, match=r"the weights of the it cannot be read \(a kernel is missing\): fetch or"):
        load_model("the it", getattr(pair, side), {})


def test_a_model_that_does_not_fit_into_memory(pair: Pair, monkeypatch: Any) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr("crossdistill.train.loading.create_model_from_path", fail)
    with pytest.raises(FindingError, match=r"the teacher does not fit into memory \(CUDA out of memory.*\): free some"):
        load_model("the teacher", pair.teacher, {})


# ---- what is whole --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: None,
        sharded,
        as_torch,
        as_torch_shards,
        lambda folder: with_a_tensor_in_two_files(folder, is_other=False),
        lambda folder: save_file(
            {"x": torch.ones(2)}, sharded(folder)[0].with_name("model-00009-of-00009.safetensors")
        ),
    ],
)
def test_whole_folders_pass(pair: Pair, tmp_path: Path, change: Change, caplog: Any) -> None:
    folder = Path(shutil.copytree(pair.student, tmp_path / "model"))
    change(folder)
    (folder / "consolidated.safetensors").write_bytes(b"not read")
    check_weights("student", str(folder), {})
    loaded = load_model("the student", str(folder), {})
    original = load_file(Path(pair.student) / "model.safetensors")
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in original.items())
    assert not caplog.records


@pytest.mark.parametrize("name", tiny_models.NAMES)
def test_tied_heads_and_biases_of_real_architectures_pass(name: str, tmp_path: Path) -> None:
    tiny_models.build(name).save_pretrained(tmp_path)
    check_weights("student", str(tmp_path), {})
    load_model("the student", str(tmp_path), {})


@pytest.mark.parametrize(
    "names",
    [
        ("model.layers.0.self_attn.rotary_emb.inv_freq",),
        ("model.layers.0.attn.bias", "model.layers.0.attn.masked_bias"),
        ("model.layers.0.self_attention.causal_mask",),
        ("mtp.layers.0.mlp.up_proj.weight", "model.mtp_layers.0.input_layernorm.weight"),
    ],
)
def test_tables_and_heads_that_take_no_part_pass(pair: Pair, tmp_path: Path, names: tuple[str, ...]) -> None:
    folder = Path(shutil.copytree(pair.teacher, tmp_path / "model"))
    added(*names)(folder)
    check_weights("teacher", str(folder), {})
    load_model("the teacher", str(folder), {})


@pytest.mark.parametrize("suffix", ["weight_scale_inv", "weight_scale", "scale"])
def test_scaled_weights_of_fp8_pass(pair: Pair, tmp_path: Path, suffix: str) -> None:
    folder = Path(shutil.copytree(pair.teacher, tmp_path / "model"))
    with_dtype(torch.float8_e4m3fn, "proj")(folder)
    edit(folder, quantization_config=FP8)
    names = [name for name in load_file(folder / "model.safetensors") if "proj" in name]
    added(*(name.removesuffix("weight") + suffix for name in names))(folder)
    check_weights("teacher", str(folder), {})


def test_tables_of_integers_pass(pair: Pair, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pair.teacher, tmp_path / "model"))
    path = folder / "model.safetensors"
    tables = {"model.position_ids": torch.arange(4), "model.layers.0.attn.bias": torch.ones(2, 2, dtype=torch.bool)}
    save_file({**load_file(path), **tables}, path, metadata={"format": "pt"})
    check_weights("teacher", str(folder), {})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_pass(pair: Pair, tmp_path: Path, dtype: torch.dtype) -> None:
    folder = Path(shutil.copytree(pair.teacher, tmp_path / "model"))
    with_dtype(dtype)(folder)
    check_weights("teacher", str(folder), {})
    as_torch(folder)
    check_weights("teacher", str(folder), {})


def test_an_index_may_name_more_than_there_is(pair: Pair, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pair.teacher, tmp_path / "model"))
    first, *_ = sharded(folder)
    index = folder / "model.safetensors.index.json"
    entries = json.loads(index.read_text())
    entries["weight_map"]["model.layers.0.self_attn.rotary_emb.inv_freq"] = first.name
    index.write_text(json.dumps(entries))
    check_weights("teacher", str(folder), {})


def test_gpt2_as_it_was_published(tmp_path: Path) -> None:
    """Without the prefix of the model with a head, and with the masks that it made then."""
    tiny_models.build("gpt2").save_pretrained(tmp_path)
    renamed(lambda name: name.removeprefix("transformer."))(tmp_path)
    added("h.0.attn.bias", "h.1.attn.bias")(tmp_path)
    check_weights("student", str(tmp_path), {})
    load_model("the student", str(tmp_path), {})


def test_layers_that_predict_further_tokens_pass(pair: Pair, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pair.teacher, tmp_path / "model"))
    layers = json.loads((folder / "config.json").read_text())["num_hidden_layers"]
    added(*(f"model.layers.{layers}.{name}.weight" for name in ("eh_proj", "mlp.up_proj", "self_attn.q_proj")))(folder)
    with pytest.raises(FindingError, match="do not fit"):
        check_weights("teacher", str(folder), {})
    edit(folder, num_nextn_predict_layers=1)
    check_weights("teacher", str(folder), {})


def test_a_base_model_with_a_tied_head_is_a_language_model(tmp_path: Path) -> None:
    """Embedding models are saved so; the head is the input layer."""
    tiny_models.build("tied_qwen").model.save_pretrained(tmp_path)
    check_weights("student", str(tmp_path), {})
    assert type(load_model("the student", str(tmp_path), {})) is transformers.Qwen3ForCausalLM


def test_no_class_is_named(pair: Pair, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pair.teacher, tmp_path / "model"))
    edit(folder, architectures=None)
    check_weights("teacher", str(folder), {})
    assert type(load_model("the teacher", str(folder), {})) is transformers.LlamaForCausalLM
