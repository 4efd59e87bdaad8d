"""An inspected pair as rows of words, for the terminal and the page, and as plain data for programs."""

from collections.abc import Sequence
from typing import Any

from crossdistill.inspection.advice import general_advice
from crossdistill.inspection.examples import ChunkExample, NeverOneToOne, Rewrite
from crossdistill.inspection.measure import Measure, minimum_coverage
from crossdistill.inspection.model_info import ModelFacts
from crossdistill.inspection.overlap import Overlap
from crossdistill.inspection.pair import Inspection
from crossdistill.report.format import display, percent, plain
from crossdistill.report.inspection.verdict import verdict

MAX_EXAMPLES = 40
_KEYS = {"unencodable": "holes", "encodes_any_bytes": "spells_bytes"}  # fields whose JSON keys have other names
_THINKING = {
    "control": "one control token without bytes: sampled ones get no signal unless train.text_tokens names it",
    "token": "one token",
    "text": "plain text",
}


def as_dict(pair: Inspection) -> dict[str, Any]:
    """Everything that inspection found, for JSON."""
    return {
        "verdict": verdict(pair).as_dict(),
        "student": _side(pair.student),
        "teacher": _side(pair.teacher),
        "findings": [finding.as_dict() for finding in pair.findings],
        "overlap": _overlap(pair.overlap),
        "promised_coverage": pair.expected_coverage,
        "minimum_coverage": minimum_coverage(pair.expected_coverage),
        "total": _measure(pair.total),
        "categories": {name: _measure(measure) for name, measure in pair.categories.items()},
        "documents": {name: _measure(measure) for name, measure in pair.documents.items()},
        "largest_chunks": [chunk_example(example) for example in pair.largest],
        "tokens_never_one_to_one": {
            "tokens": len(pair.never_one_to_one),
            "occurrences": sum(token.count for token in pair.never_one_to_one),
            "most_frequent": [counted_token(token) for token in pair.never_one_to_one[:MAX_EXAMPLES]],
        },
        "rewritten": {
            "by_student": [rewrite(example) for example in pair.student_rewrites[:MAX_EXAMPLES]],
            "by_teacher": [rewrite(example) for example in pair.teacher_rewrites[:MAX_EXAMPLES]],
        },
        "objectives": [vars(entry) for entry in pair.advice],
        "advice": general_advice(pair.total, pair.overlap),
    }


def side_rows(facts: ModelFacts) -> list[tuple[str, str]]:
    """(property, value) of one model, in words."""
    padding = f", {facts.padding:,} padding" if facts.padding else ""
    return [
        ("tokenizer", f"{facts.kind}, bytes verified"),
        ("ids", f"{facts.ids:,}: {facts.entries:,} with bytes, {facts.control:,} control{padding}"),
        ("cannot encode", _unencodable(facts)),
        ("chat template", "its own" if facts.has_template else "the plain default (the model has none)"),
        ("ends a turn with", ", ".join(map(plain, facts.stops)) or "nothing: responses end at the budget"),
        ("context", "no limit stated" if facts.context is None else f"{facts.context:,} tokens"),
        *((tag, _THINKING[kind]) for tag, kind in facts.thinking.items()),
    ]


def short_side_rows(facts: ModelFacts) -> list[tuple[str, str]]:
    """The rows of :func:`side_rows` that every model has, without those of its control tokens."""
    return [(name, value) for name, value in side_rows(facts) if name not in facts.thinking]


def overlap_rows(overlap: Overlap) -> list[tuple[str, str]]:
    """(property, value) of what the vocabularies have in common, in words."""
    rows = [
        (
            "entries of equal bytes",
            f"{overlap.shared:,}: {percent(overlap.shared / max(1, overlap.student_entries))} of the student's, "
            f"{percent(overlap.shared / max(1, overlap.teacher_entries))} of the teacher's",
        ),
        (
            "without a partner",
            f"{overlap.without_partner:,} of the student's ids have bytes that no single entry of the teacher has",
        ),
    ]
    if overlap.by_string is not None:
        names = overlap.by_string
        found = (
            f"{names.matches:,} names match (Ġ read as ▁); {names.false:,} of them have other bytes, and "
            f"{names.missed:,} entries of equal bytes are missed"
        )
        rows.append(("matched by string", found))
    return rows


def summary_rows(pair: Inspection) -> list[tuple[str, str]]:
    """(property, value) of the pair on the corpus, in words."""
    total = pair.total
    student, teacher = total.largest_chunk
    never, used = sum(token.count for token in pair.never_one_to_one), max(1, total.student_tokens)
    unwritable = f"; it cannot write {total.unwritable_bytes:,} bytes" if total.unwritable_bytes else ""
    return [
        ("corpus", f"{len(pair.documents)} texts, {total.bytes:,} bytes as the student writes them{unwritable}"),
        ("supervised", f"{total.supervised_bytes:,} of {total.bytes:,} bytes, {percent(total.coverage)}"),
        (
            "taught as a stop",
            f"the student's {_stops(pair.student)}, by the teacher's probability of {_stops(pair.teacher)}",
        ),
        (
            "a run stops below",
            f"{percent(minimum_coverage(pair.expected_coverage))} (train.min_coverage, train.low_coverage)",
        ),
        ("tokens", f"student {total.student_tokens:,}, teacher {total.teacher_tokens:,}"),
        ("1:1", f"{percent(total.one_to_one_share)} of the student's tokens"),
        ("chunks", f"{total.num_chunks:,}, largest {student} student : {teacher} teacher tokens"),
        (
            "never 1:1",
            f"{len(pair.never_one_to_one):,} of the student's tokens that occur, {percent(never / used)} of all "
            "occurrences",
        ),
        (
            "rewritten",
            f"{_places(pair.student_rewrites)} by the student, {_places(pair.teacher_rewrites)} by the teacher",
        ),
    ]


def histogram(measure: Measure, size: int) -> list[list[int]]:
    """Number of chunks by student tokens (rows) and teacher tokens (columns).

    Args:
        measure: of a pair.
        size: rows and columns, for 1, 2, ... tokens; the last one also counts larger chunks.
    """
    counts = [[0] * size for _ in range(size)]
    for (student, teacher), number in measure.chunks.items():
        counts[min(student, size) - 1][min(teacher, size) - 1] += number
    return counts


def chunk_example(example: ChunkExample) -> dict[str, Any]:
    """A chunk and the text around it, readable."""
    return {
        "document": example.document,
        "student": [display(piece) for piece in example.student],
        "teacher": [display(piece) for piece in example.teacher],
        "text": display(b"".join(example.student)),
        "before": display(example.before),
        "after": display(example.after),
    }


def counted_token(token: NeverOneToOne) -> dict[str, Any]:
    """A token and how often it occurs, readable."""
    return {"token": display(token.piece), "count": token.count}


def rewrite(example: Rewrite) -> dict[str, Any]:
    """A rewritten text before and after, readable."""
    return {"document": example.document, "given": display(example.given), "spelled": display(example.decoded)}


def _side(facts: ModelFacts) -> dict[str, Any]:
    fields = {_KEYS.get(name, name): value for name, value in vars(facts).items() if name != "effects"}
    return {**fields, "holes": list(facts.unencodable)}


def _overlap(overlap: Overlap) -> dict[str, Any]:
    names = overlap.by_string
    if names is None:
        return {**vars(overlap)}
    missed = [display(piece) for piece in names.missed_examples]
    return {**vars(overlap), "by_string": {**vars(names), "missed_examples": missed}}


def _measure(measure: Measure) -> dict[str, Any]:
    sums = {name: value for name, value in vars(measure).items() if name != "chunks"}
    return {
        **sums,
        "coverage": measure.coverage,
        "one_to_one_share": measure.one_to_one_share,
        "shared_credit_share": measure.shared_credit_share,
        "num_chunks": measure.num_chunks,
        "largest_chunk": list(measure.largest_chunk),
        "chunk_sizes": [[*size, number] for size, number in sorted(measure.chunks.items())],
    }


def _stops(facts: ModelFacts) -> str:
    return " or ".join(map(plain, facts.stops)) or "nothing"


def _unencodable(facts: ModelFacts) -> str:
    if not facts.encodes_any_bytes:
        unknown = "" if facts.unknown is None else f", which become {plain(facts.unknown)}"
        return f"characters without an entry{unknown}: no byte fallback"
    if not facts.unencodable:
        return "nothing: it encodes any bytes"
    return f"{len(facts.unencodable)} byte values: {' '.join(f'{byte:02x}' for byte in facts.unencodable)}"


def _places(rewrites: Sequence[Rewrite]) -> str:
    return f"{len(rewrites):,} place" + ("" if len(rewrites) == 1 else "s")
