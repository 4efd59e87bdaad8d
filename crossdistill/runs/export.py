"""What a run leaves behind as a folder that others load: the whole model, a merged one, or the adapter."""

import json
import os
import re
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
from crossdistill.report.card.tables import short
from crossdistill.runs.evaluated_model import ADAPTER, dtype_named
from crossdistill.runs.export_source import ADAPTER_WEIGHTS, ExportSource, find_source
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.merging import merge
from crossdistill.space import telling_out_of_space
from crossdistill.teachers.generation_defaults import defaults_kept
from crossdistill.train.loading import load_model

SHARD_SIZE = "5GB"
_SIZE = re.compile(r"[1-9]\d*[KMGT]B")
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
    _check(asked)
    source = find_source(asked.run, asked.checkpoint, asked.base)
    is_adapter = source.base is not None and not asked.is_merged
    if is_adapter:
        _check_adapter(asked, source)
    else:
        source.check()
    with _whole(asked.output) as folder:
        written = _copy_adapter(source, folder) if is_adapter else _write_model(asked, source, folder)
        said = [*([source.note] if source.note else []), *written]
        _save_tokenizer(source, folder)
        _write_card(source, folder, said)
    if is_adapter and Path(str(source.base)).exists():
        said.append(f"its base is the folder {source.base}: name a hub id with --base to use it elsewhere")
    return said


def _write_model(asked: Export, source: ExportSource, folder: Path) -> list[str]:
    """Write a whole model, merged if there is an adapter; what was done, in words."""
    dtype = dtype_named(asked.dtype)
    if source.base is None:
        options = {"device_map": None, "dtype": dtype}
        model = load_model(f"the model {str(source.folder)!r}", str(source.folder), options)
        return [_save(model, source, folder, asked.shard_size)]
    model, difference = merge(source, dtype)
    saved = _save(model, source, folder, asked.shard_size)
    return [
        f"{saved}, merged into {short(source.base)} in that precision",
        f"log-probabilities of the adapter and of the merged model differ by up to {difference:.1g} nats",
    ]


# ---- what is refused ------------------------------------------------------------------------------------------------


def _check(asked: Export) -> None:
    dtype_named(asked.dtype)
    if not _SIZE.fullmatch(asked.shard_size):
        raise InputError(f"--shard-size {asked.shard_size!r} is no size of a file: give one such as 5GB or 500MB.")
    RunFolder(asked.output).check_usable()
    if asked.output.is_dir() and any(asked.output.iterdir()):
        raise InputError(f"the output folder {asked.output} is not empty: name a new one.")


def _check_adapter(asked: Export, source: ExportSource) -> None:
    if (asked.dtype, asked.shard_size) != ("auto", SHARD_SIZE):
        raise InputError("--dtype and --shard-size are for whole weights: add --merge, or leave them out.")
    source.check_adapter()


# ---- the folder -----------------------------------------------------------------------------------------------------


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
    return f"the model of {short(str(source.folder))} in {str(model.dtype).removeprefix('torch.')}, {files} of weights"


def _copy_adapter(source: ExportSource, folder: Path) -> list[str]:
    """Copy the adapter, with the name of its base as it holds on this machine or on the hub."""
    assert source.base is not None
    base = str(Path(source.base).resolve()) if Path(source.base).exists() else source.base
    entries = json.loads((source.folder / ADAPTER).read_text(encoding="utf-8"))
    write_text(folder / ADAPTER, json.dumps({**entries, "base_model_name_or_path": base}, indent=2) + "\n")
    shutil.copyfile(source.folder / ADAPTER_WEIGHTS, folder / ADAPTER_WEIGHTS)
    return [f"the adapter of {short(str(source.folder))}, for {short(source.base)}"]


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
