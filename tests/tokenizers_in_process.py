"""Small tokenizers of every supported family, trained in process: deterministic, no network."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<|im_start|>", "<|im_end|>")
THINK = "<think>"
ORDINARY = (THINK, "思考", "«réponse»")  # the last one has characters of the byte-level table
CORPUS = (
    "The quick brown fox jumps over the lazy dog and then the dog sleeps in the sun.",
    "First we add the numbers, then we take the sum: 12 + 30 = 42, and 1234 + 5678 = 6912.",
    "naïve café, déjà vu, über, façade, señor; the résumé of the naïve café owner",
    "Since x ≈ 3.14159 and y ≥ 2√2, we get ∑ xᵢ ≤ 100.",
    "答案是：你好，世界。结果为 42。世界你好，答案是你好。",
    "Привет, мир! Ответ: сорок два. Привет, Привет, мир мир.",
    "Great job 🤗! The answer is 12. 🤗🤗 👩‍🚀 👩‍🚀 👩‍🚀",
    "def f(x):  return   x * x    # two  spaces",
)
_LLAMA3_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN_REGEX = _LLAMA3_REGEX.replace(r"\p{N}{1,3}", r"\p{N}")


def byte_level(
    corpus: Sequence[str] = CORPUS,
    *,
    num_merges: int,
    pre_tokenizer: Any = None,
    normalizer: Any = None,
    ignore_merges: bool = False,
    special: Sequence[str] = SPECIAL,
    ordinary: Sequence[str] = ORDINARY,
) -> Tokenizer:
    """BPE over bytes (GPT-2): all 256 in the alphabet."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=256 + num_merges, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    _add(tokenizer, special, ordinary)
    return tokenizer


def sentencepiece(
    corpus: Sequence[str] = CORPUS,
    *,
    num_merges: int,
    pre_tokenizer: Any = None,
    normalizer: Any = None,
    strip: bool = False,
    byte_pieces: Sequence[str] = tuple(f"<0x{byte:02X}>" for byte in range(256)),
    special: Sequence[str] = SPECIAL,
    ordinary: Sequence[str] = ORDINARY,
) -> Tokenizer:
    """BPE over characters with spaces as U+2581 and byte tokens to fall back on; no line break in the alphabet."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    characters = sorted(set("".join(corpus).replace(" ", "▁")) - {"🤗", "界"})  # these two fall back on bytes
    trainer = trainers.BpeTrainer(
        vocab_size=len(characters) + num_merges,
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    learner.train_from_iterator([text.replace("🤗", "").replace("界", "") for text in corpus], trainer)
    merges = [tuple(merge) for merge in json.loads(learner.to_str())["model"]["merges"]]
    pieces = ["<unk>", *byte_pieces, *characters, *(left + right for left, right in merges)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(parts + [decoders.Strip(" ", 1, 0)] * strip)
    _add(tokenizer, special, ordinary)
    return tokenizer


def unigram(
    corpus: Sequence[str] = CORPUS,
    *,
    num_pieces: int,
    byte_pieces: Sequence[str] = tuple(f"<0x{byte:02X}>" for byte in range(256)),
    normalizer: Any = None,
    pre_tokenizer: Any = None,
    special: Sequence[str] = SPECIAL,
    ordinary: Sequence[str] = ORDINARY,
) -> Tokenizer:
    """Unigram over characters with spaces as U+2581; without `byte_pieces` it has an unknown token instead."""
    learner = Tokenizer(models.Unigram())
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.UnigramTrainer(vocab_size=num_pieces, unk_token="<unk>", show_progress=False)
    learner.train_from_iterator([text.replace("🤗", "").replace("界", "") for text in corpus], trainer)
    trained = json.loads(learner.to_str())["model"]["vocab"]
    # the trainer leaves the order of ties, and the last digits, to chance
    learned = sorted((piece, round(score, 3)) for piece, score in trained if piece != "<unk>")
    vocabulary = [("<unk>", 0.0), ("</s>", 0.0), *((piece, -20.0) for piece in byte_pieces), *learned]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=bool(byte_pieces)))
    tokenizer.normalizer = normalizer or normalizers.Replace(" ", "▁")
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    _add(tokenizer, ("</s>", *special), ordinary)
    return tokenizer


def characters_bpe() -> Tokenizer:
    """SentencePiece-style BPE without byte fallback: characters outside its alphabet become unknown tokens."""
    spec = json.loads(sentencepiece(num_merges=80, byte_pieces=(), special=(), ordinary=()).to_str())
    spec["model"]["byte_fallback"] = False
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    _add(tokenizer, SPECIAL, ORDINARY)
    return tokenizer


def t5() -> Tokenizer:
    """Unigram without byte fallback, with T5's steps: compatibility forms composed, runs of spaces collapsed."""
    normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")]
    )
    metaspace = pre_tokenizers.Metaspace("▁", "always")
    return unigram(num_pieces=260, byte_pieces=(), normalizer=normalizer, pre_tokenizer=metaspace, ordinary=())


def wordpiece(*, lowercase: bool) -> Tokenizer:
    """BERT's: words without white space, ``##`` for the continuation of a word."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=420, special_tokens=["[UNK]", "[SEP]"], show_progress=False)
    tokenizer.train_from_iterator([text.replace("🤗", "") for text in CORPUS], trainer)
    return tokenizer


def _add(tokenizer: Tokenizer, special: Sequence[str], ordinary: Sequence[str]) -> None:
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in ordinary])


def _split(regex: str) -> Any:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(regex), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _digits() -> Any:
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def _prepend_and_replace() -> Any:
    return normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


BUILDERS: dict[str, Callable[[], Tokenizer]] = {
    "gpt2": lambda: byte_level(CORPUS[:3], num_merges=60, ordinary=()),  # `<think>` is plain text here
    "gpt2_digits": lambda: byte_level(num_merges=200, pre_tokenizer=_digits()),
    "llama3": lambda: byte_level(num_merges=120, pre_tokenizer=_split(_LLAMA3_REGEX), ignore_merges=True),
    "qwen": lambda: byte_level(num_merges=300, pre_tokenizer=_split(_QWEN_REGEX), normalizer=normalizers.NFC()),
    "gemma": lambda: sentencepiece(
        num_merges=150,
        normalizer=normalizers.Replace(" ", "▁"),
        pre_tokenizer=pre_tokenizers.Split(" ", "merged_with_previous"),
        ordinary=(*ORDINARY, "▁▁", "▁▁▁", "\n\n"),
    ),
    "llama2": lambda: sentencepiece(num_merges=100, normalizer=_prepend_and_replace(), strip=True),
    "metaspace": lambda: sentencepiece(
        CORPUS[:6], num_merges=60, pre_tokenizer=pre_tokenizers.Metaspace("▁", "first"), strip=True
    ),
    "unigram": lambda: unigram(num_pieces=220),
}
CHARACTER_BUILDERS: dict[str, Callable[[], Tokenizer]] = {
    "t5": t5,
    "characters_bpe": characters_bpe,
    "bert": lambda: wordpiece(lowercase=True),
    "bert_cased": lambda: wordpiece(lowercase=False),
}
"""Tokenizers whose entries are characters: what they have no entry for becomes an unknown token."""
NAMES = tuple(BUILDERS)
"""Tokenizers that can encode any bytes."""
SENTENCEPIECE_NAMES = ("gemma", "llama2", "metaspace", "unigram")
BYTE_LEVEL_NAMES = tuple(name for name in NAMES if name not in SENTENCEPIECE_NAMES)


def build(name: str) -> PreTrainedTokenizerFast:
    """The tokenizer of that name, as users have it."""
    return PreTrainedTokenizerFast(
        tokenizer_object=BUILDERS[name](), eos_token="<|im_end|>", clean_up_tokenization_spaces=False
    )
