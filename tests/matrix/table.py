"""Writes the page docs/tokenizers.md from the scores of the matrix."""

import datetime
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from crossdistill.inspection.documents import corpus
from tests.matrix.corpus import BROKEN, PEERS
from tests.matrix.loading import Real
from tests.matrix.run import Both, Matrix

_INTRODUCTION = """# Real tokenizers

Written by `make tokenizers test-matrix` on {date}; do not edit it. Every ordered pair of {num_tokenizers} tokenizers
({num_pairs} pairs, each tokenizer with itself included) reads {num_cases} texts: strings that other libraries fail
on, bytes of every kind, and the corpus that ships with the package. The student gets each text as its canonical ids
and, if it is short, a second time as ids split at random. {responses:,} responses in {minutes:.0f} minutes.

**What is counted.** A boundary is a place where both models end a token after exactly the same bytes. The true ones are
found by brute force from that definition, from the bytes in each tokenizer's own file (`tests/matrix/truth.py`).
*found*: boundaries at which crossdistill closes a chunk that is correct from end to end. *wrong*: its other chunks.
*unaccounted*: bytes that are neither supervised nor counted as lost under a reason. *lost*: bytes in a chunk that the
teacher has no tokens for: characters that its vocabulary lacks, or bytes that it cannot encode. **GOLD** is the aligner
of TRL {trl} on the same student ids, with the offsets that it computes itself: *found*, of the true boundaries
in the responses that it accepts; *wrong*, boundaries that it takes for true; and responses *refused*.

{finding}"""

_FINDING = """**What it shows.** crossdistill finds {found} boundaries, makes {wrong} wrong chunks, and leaves
{unaccounted} bytes unaccounted for. GOLD, over all of it: {everything}.
It needs fast Hugging Face tokenizers and refuses teachers that are not byte-level BPE. Between two byte-level
tokenizers it does well on plain text ({plain}) and fails
in responses that are not whole characters ({broken}):
it decodes the ids to text for the teacher, and the replacement of a stray byte has another length, so that everything
after it is off. It accepts students that are not byte-level but gets their offsets wrong: it measures a token by the
characters of its name and not by its bytes (plain text, byte-level teachers: {others}).
crossdistill loses only characters without an entry in vocabularies without byte fallback (BERT, XLM-RoBERTa) and
byte values that some byte-level vocabularies lack: they are counted under a reason and never paired.
"""


def page(reals: dict[str, Real], matrix: Matrix, num_cases: int) -> str:
    """The whole page, as Markdown."""
    introduction = _INTRODUCTION.format(
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        num_tokenizers=len(reals),
        num_pairs=len(reals) ** 2,
        num_cases=num_cases,
        responses=matrix.total().responses,
        minutes=matrix.seconds / 60,
        trl=version("trl"),
        finding=_finding(reals, matrix),
    )
    parts = [
        introduction,
        "## The tokenizers\n",
        _tokenizers(reals),
        "## By text\n",
        _scores("text", matrix.by(lambda key: key.name if key.group == PEERS else key.group)),
        "## By teacher\n",
        _scores("teacher", matrix.by(lambda key: key.teacher)),
        "## By student\n",
        _scores("student", matrix.by(lambda key: key.student)),
        "## By pair\n",
        _scores("student / teacher", matrix.by(lambda key: f"{key.student} / {key.teacher}")),
    ]
    return "\n".join(parts)


def _finding(reals: dict[str, Real], matrix: Matrix) -> str:
    shipped = {document.category for document in corpus()}
    byte_level = {name for name, real in reals.items() if real.fast and real.vocab.kind == "byte_level_bpe"}
    ours = matrix.total().ours
    gold = {
        "everything": matrix.total(),
        "plain": matrix.total(lambda key: key.group in shipped and {key.student, key.teacher} <= byte_level),
        "broken": matrix.total(lambda key: key.group in BROKEN and {key.student, key.teacher} <= byte_level),
        "others": matrix.total(
            lambda key: key.group in shipped and key.student not in byte_level and key.teacher in byte_level
        ),
    }
    return _FINDING.format(
        found=f"{ours.found:,} of {ours.true:,}",
        wrong=f"{ours.wrong:,}",
        unaccounted=f"{ours.unaccounted:,} of {ours.total:,}",
        **{name: _gold_in_words(both) for name, both in gold.items()},
    )


def _gold_in_words(both: Both) -> str:
    gold = both.gold
    refused = _percent(gold.refused, both.responses)
    return f"{_percent(gold.found, gold.true)} found, {gold.wrong:,} wrong, {refused} of the responses refused"


def _tokenizers(reals: dict[str, Real]) -> str:
    """The table of tokenizers; seconds are for reading and verifying the vocabulary of a loaded tokenizer."""
    rows = [
        (
            name,
            real.vocab.kind.replace("_", " "),
            f"{len(real.vocab):,}",
            real.source,
            f"{real.built[1]:.2f}",
            _unencodable(real),
        )
        for name, real in reals.items()
    ]
    note = (
        "*Seconds*: reading and verifying the vocabulary of a loaded tokenizer, without the cache. *Cannot encode*: "
        "byte values without an entry, or characters where there is no byte fallback.\n"
    )
    return note + "\n" + _table(("tokenizer", "kind", "entries", "source", "seconds", "cannot encode"), rows)


def _unencodable(real: Real) -> str:
    if not real.vocab.encodes_any_bytes:
        return "characters without an entry"
    return f"{len(real.vocab.unencodable)} bytes" if real.vocab.unencodable else "-"


def _scores(title: str, rows: dict[str, Both]) -> str:
    heads = (title, "found / true", "wrong", "unaccounted", "lost bytes", "GOLD: found", "wrong", "refused")
    return _table(heads, [(name, *_cells(both)) for name, both in rows.items()])


def _cells(both: Both) -> tuple[str, ...]:
    ours, gold = both.ours, both.gold
    return (
        f"{ours.found:,} / {ours.true:,}",
        f"{ours.wrong:,}",
        f"{ours.unaccounted:,}",
        _percent(ours.lost, ours.total),
        _percent(gold.found, gold.true) if gold.refused < both.responses else "-",
        f"{gold.wrong:,}" if gold.refused < both.responses else "-",
        _percent(gold.refused, both.responses),
    )


def _percent(part: int, whole: int) -> str:
    """A percentage, rounded so that 0 and 100 % are exact."""
    if part in (0, whole):
        return "0" if part == 0 else "100 %"
    return f"{min(max(100 * part / whole, 0.1), 99.9):.1f} %"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines) + "\n"
