"""What a pair of models will do, told from their configurations and tokenizers alone."""

from typing import Any

import numpy as np
from transformers import GenerationConfig

from crossdistill.chat import ensure_template, stop_ids
from crossdistill.reading import Reading
from crossdistill.tokens import ByteVocab
from crossdistill.train.checks import check_pair, config_of
from crossdistill.train.loading import read_tokenizer

_SAMPLE = (
    "Let x = 3.14 and y = 120. Then x * y = 376.8, so the answer is 377.\n\n"
    "def mean(values):\n    return sum(values) / len(values)\n\n"
    "Größe ≥ 2√2, naïve café; 答案是 42。 Ответ: 42 🤗\n"
)


def describe_pair(student: str, teacher: str) -> list[tuple[str, str]]:
    """Kinds, vocabularies, templates, stop tokens, contexts, and how a sample text aligns.

    Raises InputError for what a training run would refuse.
    """
    check_pair(student, teacher)
    sides = {"student": student, "teacher": teacher}
    tokenizers = {side: read_tokenizer(name) for side, name in sides.items()}
    configs = {side: config_of(name) for side, name in sides.items()}
    vocabs = {side: ByteVocab.from_tokenizer(tokenizers[side], configs[side].vocab_size) for side in sides}
    rows = []
    for side, name in sides.items():
        rows += _side(side, name, tokenizers[side], configs[side], vocabs[side])
    return [*rows, *_shared(vocabs["student"], vocabs["teacher"])]


def _side(side: str, name: str, tokenizer: Any, config: Any, vocab: ByteVocab) -> list[tuple[str, str]]:
    plain = ensure_template(tokenizer)
    stops = tokenizer.convert_ids_to_tokens(list(stop_ids(tokenizer, _declared_stops(name))))
    return [
        (f"{side}: tokenizer", f"{vocab.kind}, bytes verified, {len(tokenizer):,} entries, model emits {len(vocab):,}"),
        (f"{side}: chat template", "the plain default (the model has none)" if plain else "its own"),
        (f"{side}: ends a turn with", ", ".join(stops) or "nothing: responses end at the budget"),
        (f"{side}: context", f"{getattr(config, 'max_position_embeddings', 'unlimited')} tokens"),
    ]


def _declared_stops(name: str) -> Any:
    try:
        return GenerationConfig.from_pretrained(name).eos_token_id
    except OSError:
        return None  # a folder without generation_config.json


def _shared(student: ByteVocab, teacher: ByteVocab) -> list[tuple[str, str]]:
    ids = student.encode(_SAMPLE).ids
    ids = ids[student.lengths[ids] > 0]  # what the student can really write of it
    reading = Reading.of(student, ids, teacher)
    alignment = reading.alignment
    one_to_one = int(alignment.is_one_to_one.sum()) / len(ids)
    largest = int(np.max(alignment.student_sizes + alignment.teacher_sizes))
    common = len({piece for piece in student.pieces if piece} & {piece for piece in teacher.pieces if piece})
    return [
        ("entries with equal bytes", f"{common:,}"),
        ("sample text", f"{len(ids)} student tokens, {len(reading.encoding.ids)} teacher tokens"),
        ("chunks", f"{alignment.num_chunks}, {one_to_one:.0%} of the student's tokens 1:1, largest {largest} tokens"),
        ("supervised bytes", f"{int(alignment.byte_splits[-1])} of {len(reading.data)}"),
        ("signal", "a local teacher gives every signal; objective dpca needs the sampled tokens' alone"),
    ]
