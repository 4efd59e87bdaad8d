"""What a run leaves behind as a folder that others load: the whole model, a merged one, or the adapter."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from crossdistill.errors import InputError
from crossdistill.files import write_text
from crossdistill.inspection.model_files import read_tokenizer
from crossdistill.report.card.card import model_card
from crossdistill.report.card.origin import CARD, card_of, hub_id_of
from crossdistill.runs.evaluated_model import ADAPTER, dtype_named
from crossdistill.runs.export_source import ADAPTER_WEIGHTS, ExportSource, find_source
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.merging import merge
from crossdistill.space import telling_out_of_space
from crossdistill.teachers.generation_defaults import defaults_kept
from crossdistill.train.loading import load_model

SHARD_SIZE = "5GB"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class Export:
    """How a run is exported.

    Attributes:
        run: a run's folder, a trainer's ``output_dir``, or the folder of a model or an adapter.
        output: folder to write; new or empty.
        checkpoint: step of the checkpoint; by default the final model, or the newest checkpoint of an unfinished run.
        is_merged: whether an adapter is merged into its base.
        base: of an adapter, in place of the one that it names.
        dtype: of the weights: "auto" for that of the base's files (of a whole model, of its own), or a name of torch's.
        shard_size: most bytes of a file of weights, such as "5GB".
    """

    run: Path
    output: Path
    checkpoint: int | None = None
    is_merged: bool = False
    base: str | None = None
    dtype: str = "auto"
    shard_size: str = SHARD_SIZE


def export(asked: Export) -> list[str]:
    """Write the folder, whole or not at all.

    Args:
        asked: see above.

    Returns:
        What the user should know, in sentences.

    Raises:
        InputError: something that cannot work, before weights are read if that is possible.
        OutOfSpaceError: the disk is full; nothing is left behind.
    """
    dtype = dtype_named(asked.dtype)
    _check_output(asked.output)
    source = find_source(asked.run, asked.checkpoint, asked.base)
    if source.base is not None and not asked.is_merged:
        if (asked.dtype, asked.shard_size) != ("auto", SHARD_SIZE):
            raise InputError("--dtype and --shard-size are for whole weights: add --merge, or leave them out.")
        source.check_adapter()
    else:
        source.check()
    with _whole(asked.output) as folder:
        said = [source.note] if source.note else []
        if source.base is None:
            model = load_model(f"the model {str(source.folder)!r}", str(source.folder), _loading(dtype))
            said.append(_save(model, source, folder, asked.shard_size))
        elif asked.is_merged:
            model, difference = merge(source, dtype)
            saved = _save(model, source, folder, asked.shard_size)
            said.append(f"{saved}, merged into {source.base} in that precision")
            said.append(f"log-probabilities of the adapter and the merged model differ by up to {difference:.1g} nats")
        else:
            said.append(_copy_adapter(source, folder))
        _save_tokenizer(source, folder)
        _write_card(source, folder, said)
    return said


def _loading(dtype: Any) -> dict[str, Any]:
    return {"device_map": None, "dtype": dtype}


# ---- the folder -----------------------------------------------------------------------------------------------------


def _check_output(output: Path) -> None:
    folder = RunFolder(output)
    folder.check_usable()
    if output.is_dir() and any(output.iterdir()):
        raise InputError(f"the output folder {output} is not empty: name a new one.")


@contextmanager
def _whole(output: Path) -> Iterator[Path]:
    """A folder that takes the place of `output` once everything is in it; nothing is left of it after an error."""
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.parent / f".{output.name}.{os.getpid()}.tmp"
    temporary.mkdir()
    try:
        with telling_out_of_space(output.parent):
            yield temporary
            temporary.replace(output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


# ---- what is in it --------------------------------------------------------------------------------------------------


def _save(model: Any, source: ExportSource, folder: Path, shard_size: str) -> str:
    """Write the weights and both configurations; what was written, in words."""
    model.config.use_cache = True  # transformers' trainer turns it off
    with defaults_kept(model, folder):
        model.save_pretrained(folder, max_shard_size=shard_size)
    number = len(list(folder.glob("*.safetensors")))
    files = "1 file" if number == 1 else f"{number} files"
    return f"the model of {source.folder} in {str(model.dtype).removeprefix('torch.')}, {files} of weights"


def _copy_adapter(source: ExportSource, folder: Path) -> str:
    """Copy the adapter, with the name of its base as it holds on this machine or on the hub."""
    assert source.base is not None
    base = str(Path(source.base).resolve()) if Path(source.base).exists() else source.base
    entries = json.loads((source.folder / ADAPTER).read_text(encoding="utf-8"))
    write_text(folder / ADAPTER, json.dumps({**entries, "base_model_name_or_path": base}, indent=2) + "\n")
    shutil.copyfile(source.folder / ADAPTER_WEIGHTS, folder / ADAPTER_WEIGHTS)
    return f"the adapter of {source.folder}; its base is {base}"


def _save_tokenizer(source: ExportSource, folder: Path) -> None:
    """Write the tokenizer of the training, with its chat template."""
    has_own = any((source.folder / name).is_file() for name in _TOKENIZER)
    read_tokenizer(str(source.folder) if has_own else str(source.base)).save_pretrained(folder)


def _write_card(source: ExportSource, folder: Path, said: list[str]) -> None:
    """Write the card of the training, for what it is the card of now."""
    is_adapter = (folder / ADAPTER).exists()
    known = card_of(str(source.folder))
    fresh = model_card({"student": source.base or str(source.folder)}, is_adapter)
    card = fresh if known is None else known
    card.data["library_name"] = fresh.data["library_name"]
    if source.base is not None:
        base = hub_id_of(source.base)
        card.data["base_model"] = base
        card.data["base_model_relation"] = None if base is None else "adapter" if is_adapter else "merge"
    card.text = f"{card.text.rstrip()}\n\n## Export\n\n" + "".join(f"- {sentence}\n" for sentence in said)
    write_text(folder / CARD, str(ModelCard(str(card))))
