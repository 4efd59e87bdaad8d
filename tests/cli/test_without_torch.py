"""Tokenizers are the same to a process without PyTorch, and ``align`` is one."""

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from transformers import ByT5Tokenizer

from crossdistill.cli.without_torch import leave_out_torch
from crossdistill.errors import InputError
from crossdistill.inspection.model_files import read_tokenizer_info
from tests.other_tokenizers import llama
from tests.tokenizers_in_process import CORPUS, NAMES, build

ASSETS = [str(files("crossdistill") / "demo" / "assets" / name) for name in ("student", "teacher")]
ROOT = Path(__file__).parents[2]


def described(folder: str) -> dict[str, Any]:
    """Class, ids, bytes, special tokens, stops and template of the tokenizer in a folder."""
    read = read_tokenizer_info(folder)
    tokenizer = read.tokenizer
    rendered = None
    if tokenizer.chat_template:
        messages = [{"role": "user", "content": CORPUS[4]}]
        rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return {
        "class": type(tokenizer).__name__,
        "ids": [tokenizer.encode(text) for text in CORPUS],
        "encoded": [read.vocab.encode(text).ids.tolist() for text in CORPUS],
        "pieces": [read.vocab.decode([token_id]).hex() for token_id in range(len(read.vocab))],
        "special": {name: str(token) for name, token in sorted(tokenizer.special_tokens_map.items())},
        "added": {str(token_id): str(token) for token_id, token in sorted(tokenizer.added_tokens_decoder.items())},
        "stops": list(read.stop_ids),
        "template": rendered,
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The demo's models, every family, a class of a model's own, a slow tokenizer, and a SentencePiece file alone."""
    root = tmp_path_factory.mktemp("tokenizers")
    for name in NAMES:
        build(name).save_pretrained(root / name)
    ByT5Tokenizer().save_pretrained(root / "byt5")
    model_of(root / "qwen2", "qwen2", "Qwen2Tokenizer")
    build("qwen").save_pretrained(root / "qwen2-unnamed")
    model_of(root / "qwen2-unnamed", "qwen2", None)
    spm = root / "sentencepiece"
    model_of(spm, "llama", "LlamaTokenizer")
    (spm / "tokenizer.model").write_bytes(llama().serialized_model_proto())
    (spm / "tokenizer.json").unlink()
    return [*ASSETS, *sorted(map(str, root.iterdir()))]


def model_of(folder: Path, model_type: str, tokenizer_class: str | None) -> None:
    """Make the folder one of a model, whose tokenizer is found by its type or by the name of its class."""
    build("qwen").save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, "vocab_size": 1024}))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    named = {} if tokenizer_class is None else {"tokenizer_class": tokenizer_class}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"tokenizer_class": None} | named))


def test_every_tokenizer_is_the_same_without_torch(folders):
    program = f"""
import json, sys
from crossdistill.cli.without_torch import leave_out_torch
leave_out_torch(["align"])
from tests.cli.test_without_torch import described
print(json.dumps([described(folder) for folder in {folders}]))
assert sys.modules["torch"] is None
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert "PyTorch" not in run.stderr
    found = json.loads(run.stdout)
    assert len({one["class"] for one in found}) > 2
    for folder, one in zip(folders, found, strict=True):
        assert one == described(folder), folder


def test_a_dtype_that_pytorch_lacks_is_of_no_concern_to_the_tokenizer_alone(tmp_path):
    """The one difference between both, as :func:`leave_out_torch` says."""
    model_of(tmp_path, "qwen2", None)
    config = tmp_path / "config.json"
    known = json.loads(config.read_text())
    whole = described(str(tmp_path))
    config.write_text(json.dumps(known | {"torch_dtype": "nope"}))
    program = f"""
import json
from crossdistill.cli.without_torch import leave_out_torch
leave_out_torch(["align"])
from tests.cli.test_without_torch import described
print(json.dumps(described({str(tmp_path)!r})))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == whole
    with pytest.raises(InputError, match=r"cannot be read .*has no attribute 'nope'"):
        read_tokenizer_info(str(tmp_path))


@pytest.mark.slow
def test_every_class_of_tokenizer_loads_without_torch():
    """Of the installed transformers: a module of one that imports PyTorch at its top would be seen here."""
    program = """
import sys
from crossdistill.cli.without_torch import leave_out_torch
leave_out_torch(["align"])
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name
names = sorted({name for name in TOKENIZER_MAPPING_NAMES.values() if name})
assert len(names) > 50
print([name for name in names if tokenizer_class_from_name(name) is None])
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [[], ["train", "align"], ["align", "a", "b", "--responses", "rows.parquet"], ["align", "--responses=rows.csv"]],
)
def test_other_commands_keep_torch(arguments, monkeypatch):
    for name in ("torch", "transformers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    leave_out_torch(arguments)
    assert "torch" not in sys.modules


def test_a_process_that_has_torch_keeps_it():
    leave_out_torch(["align"])
    assert sys.modules["torch"] is not None
