"""The files of a model's weights, checked without reading the weights: which ones are read, and whether they are whole.

The order in which transformers looks for them: one file of safetensors, its shards, one file of torch, its shards.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from crossdistill.findings import Kind, Severity, When
from crossdistill.inspection.model_files import LIBRARY_ERRORS, check_pointers, reason_of
from crossdistill.train.preflight.headers import Header, headers, read_tensor

NO_WEIGHTS = Kind(
    "no_weights",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the folder {folder!r} holds no weights that can be loaded ({found}): give one with model.safetensors, or with all "
    "of its shards and their model.safetensors.index.json.",
    "there is nothing to load",
)
MISSING_SHARDS = Kind(
    "missing_shards",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{index} names {number} that the folder lacks ({some}): fetch them, or fetch or save the whole model again.",
    "the model cannot be loaded",
)
DAMAGED = Kind(
    "damaged_weights",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the weights {path} are damaged ({reason}): fetch or save them again.",
    "the model cannot be loaded, or is loaded in part",
)
TWICE = Kind(
    "tensor_in_two_files",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the tensor {tensor} is in {first} and, with other values, in {second}: fetch or save the model again.",
    "the file that is read last wins, and one of them is of another model",
)
MISPLACED = Kind(
    "tensor_in_another_file",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{index} looks for the tensor {tensor} in {file}, and it is in {found}: fetch or save the model again.",
    "files of two models are mixed, and the weights are those of none",
)
ADAPTER_BESIDE = Kind(
    "adapter_beside_a_model",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the folder {folder!r} holds an adapter (adapter_config.json) beside a model, and transformers would load the "
    "adapter's base in its place: take it out of the folder, or merge it into its base and give the result.",
    "other weights than those of the folder are loaded",
)

_SAFETENSORS, _TORCH = "model.safetensors", "pytorch_model.bin"
_INDEX = ".index.json"
_LIKE_WEIGHTS = {".safetensors", ".bin", ".gguf", ".pth", ".pt", ".ckpt", ".h5", ".msgpack", ".onnx"}
_NUM_NAMED = 3


def weight_files(folder: Path, variant: str | None = None) -> list[Path]:
    """The files that transformers reads the weights from, each of them whole.

    Args:
        folder: of the model.
        variant: part of their names, as in ``model.fp16.safetensors``.

    Raises:
        FindingError: there are none, one is missing or damaged, or an adapter would change them.
    """
    check_pointers(folder)
    if (folder / "adapter_config.json").exists():
        raise ADAPTER_BESIDE.error(folder=str(folder))
    for name in (_SAFETENSORS, _TORCH):
        single, index = (_with_variant(folder / end, variant) for end in (name, name + _INDEX))
        if single.is_file() or index.is_file():
            files = [single] if single.is_file() else _shards(index)
            for path in files:
                _check_whole(path)
            return files
    raise NO_WEIGHTS.error(folder=str(folder), found=_found(folder))


def check_shards(files: Sequence[Path], headers_of: Mapping[Path, Mapping[str, Header]]) -> None:
    """Check that each tensor is in the one file where an index looks for it.

    An index may name more than a model needs, so a name that is nowhere passes: see :func:`check_index`.

    Args:
        files: as :func:`weight_files` returns them.
        headers_of: their tensors.

    Raises:
        FindingError: a tensor is in another file, or in two with other values.
    """
    at: dict[str, Path] = {}
    for path in files:
        for name in headers_of[path]:
            if name in at and not torch.equal(read_tensor(at[name], name), read_tensor(path, name)):
                raise TWICE.error(tensor=name, first=at[name], second=path.name)
            at.setdefault(name, path)
    for index, path in _indices(files):
        for name in _looked_for(index, path) - headers_of[path].keys():
            if name in at:
                raise MISPLACED.error(tensor=name, index=index, file=path.name, found=at[name].name)


def check_index(files: Sequence[Path], headers_of: Mapping[Path, Mapping[str, Header]]) -> None:
    """Check that each file holds the tensors that an index looks for in it, to tell why tensors are missing.

    Args:
        files: as :func:`weight_files` returns them.
        headers_of: their tensors.

    Raises:
        FindingError: one holds others.
    """
    for index, path in _indices(files):
        lacking = _looked_for(index, path) - headers_of[path].keys()
        if lacking:
            raise DAMAGED.error(path=path, reason=f"{index.name} looks in it for {some(sorted(lacking))}")


def _indices(files: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Each index beside a file, and the file."""
    for path in files:
        for index in path.parent.glob(f"*{path.suffix}{_INDEX}"):
            yield index, path


def _looked_for(index: Path, path: Path) -> set[str]:
    """The tensors that an index says are in a file."""
    return {name for name, file in _weight_map(index).items() if file == path.name}


def read_headers(files: Sequence[Path]) -> dict[Path, dict[str, Header]]:
    """The tensors of files, without weights.

    Args:
        files: as :func:`weight_files` returns them.

    Raises:
        FindingError: one is damaged, or holds something else.
    """
    found = {}
    for path in files:
        try:
            found[path] = headers(path)
        except LIBRARY_ERRORS as error:
            raise DAMAGED.error(path=path, reason=reason_of(error)) from None
    return found


def some(names: Sequence[Any]) -> str:
    """The first few of some names."""
    return ", ".join(map(str, names[:_NUM_NAMED])) + (", ..." if len(names) > _NUM_NAMED else "")


def _with_variant(path: Path, variant: str | None) -> Path:
    if variant is None:
        return path
    stem, *rest = path.name.split(".")
    return path.with_name(".".join([stem, *rest[:-1], variant, rest[-1]]))


def _found(folder: Path) -> str:
    others = sorted(path.name for path in folder.iterdir() if path.suffix in _LIKE_WEIGHTS)
    by_name = ", which is read if gguf_file in the model_init_kwargs of its side names it"
    hint = by_name if others and others[0].endswith(".gguf") else ""
    return f"only {some(others)}{hint}" if others else "no file of weights"


def _shards(index: Path) -> list[Path]:
    files = [index.parent / name for name in sorted(set(_weight_map(index).values()))]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        number = f"{len(missing)} file" + "s" * (len(missing) > 1)
        raise MISSING_SHARDS.error(index=index, number=number, some=some(missing))
    return files


def _weight_map(index: Path) -> dict[str, str]:
    """Name of a tensor -> name of its file."""
    try:
        found = json.loads(index.read_bytes())["weight_map"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DAMAGED.error(path=index, reason=f"it is no index: {type(error).__name__}: {error}") from None
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found.values()):
        raise DAMAGED.error(path=index, reason="its weight_map does not name a file for each tensor")
    return found


def _check_whole(path: Path) -> None:
    """A file that was cut short (by a full disk, say) contradicts its header or lacks its directory at the end."""
    if path.stat().st_size == 0:
        raise DAMAGED.error(path=path, reason="it is empty")
    if path.suffix == ".safetensors":
        _check_header(path)
    else:
        _check_archive(path)


def _check_header(path: Path) -> None:
    try:
        with safe_open(path, framework="pt"):
            return
    except SafetensorError as error:
        raise DAMAGED.error(path=path, reason=error) from None


def _check_archive(path: Path) -> None:
    """Files of torch are zip archives with a checksum of each tensor, those of releases before 1.6 pickles."""
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK" and not zipfile.is_zipfile(path):
        raise DAMAGED.error(path=path, reason="it was cut short")
    if start == b"PK":
        _check_sums(path)
    elif start[:1] != b"\x80":
        raise DAMAGED.error(path=path, reason="it is no file of torch")


def _check_sums(path: Path) -> None:
    """Read the file once, because torch itself compares no checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise DAMAGED.error(path=path, reason=reason_of(error)) from None
    if broken is not None:
        raise DAMAGED.error(path=path, reason=f"the checksum of its part {broken} is another")
