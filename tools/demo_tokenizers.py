"""The demo's tokenizers: byte-level BPE for the student, BPE and Unigram with byte fallback for the teachers."""

import json
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from crossdistill.demo.task import problems

TOKENIZER_SEED = 0
STUDENT_SPECIALS = ["<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"]
STUDENT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEACHER_SPECIALS = ["<pad>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
TEACHER_TEMPLATE = (
    "<bos>{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n{{ message['content'] }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
OTHER_SPECIALS = ["<unk>", "<pad>", "</s>", "[INST]", "[/INST]"]
OTHER_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}[INST]{{ message['content'] }}[/INST]"
    "{% else %}{{ message['content'] }}</s>{% endif %}{% endfor %}"
)
OTHER_PIECES = 120
STUDENT_MERGES = 50
TEACHER_MERGES = 70
# Merges do not cross word boundaries, except before these words: so there are tokens such as "▁hundred▁and".
TEACHER_WORD_BOUNDARY = "▁(?!and|is)"


def tokenizer_corpus() -> list[str]:
    """The texts of problems and solutions."""
    return [text for p in problems("train", 3000, TOKENIZER_SEED) for text in (p.prompt, p.solution)]


def byte_level_tokenizer(corpus: Iterable[str], num_merges: int, words: str | None = None) -> PreTrainedTokenizerFast:
    """GPT-2 style: BPE over bytes, with all 256 in the alphabet, and the student's chat template.

    Args:
        corpus: texts to learn merges from.
        num_merges: merges to learn. With fewer on the same corpus the tokens are those of more, cut into pieces.
        words: pattern before which words begin, which no merge crosses; that of GPT-2 if left out.
    """
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words is None)
    tokenizer.pre_tokenizer = (
        byte_level
        if words is None
        else pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words), "merged_with_next"), byte_level])
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=len(STUDENT_SPECIALS) + 256 + num_merges,
        special_tokens=STUDENT_SPECIALS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",  # noqa: S106
        pad_token="<|pad|>",  # noqa: S106
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        chat_template=STUDENT_TEMPLATE,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_student_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE without a merge across a word boundary."""
    return byte_level_tokenizer(tokenizer_corpus(), STUDENT_MERGES)


def _learn_spaced_merges(corpus: Iterable[str], num_merges: int, words: str) -> tuple[list[str], list[list[str]]]:
    """Characters and merges of a BPE over text with "▁" for spaces."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(words), "merged_with_next")
    texts = [*corpus, "user", "model"]
    characters = sorted(set("".join(texts).replace(" ", "▁")))
    trainer = trainers.BpeTrainer(vocab_size=len(characters) + num_merges, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return characters, json.loads(tokenizer.to_str())["model"]["merges"]


BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]


def with_sentencepiece_spaces(tokenizer: Tokenizer) -> Tokenizer:
    """Give a tokenizer the normaliser and decoder for "▁" as the space and for byte fallback."""
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def spaced_tokenizer(corpus: Iterable[str], num_merges: int, words: str) -> PreTrainedTokenizerFast:
    """Gemma style: BPE over characters with "▁" for spaces, no pre-tokenizer, 256 byte tokens as a fallback.

    Args:
        corpus: texts to learn merges from.
        num_merges: merges to learn.
        words: pattern, with "▁" for the space, before which words begin in learning: no merge crosses it.
    """
    characters, merges = _learn_spaced_merges(corpus, num_merges, words)
    # dict.fromkeys, because two merges may build the same token.
    pieces = dict.fromkeys(TEACHER_SPECIALS + BYTE_TOKENS + characters + [left + right for left, right in merges])
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: index for index, piece in enumerate(pieces)},
            merges=[(left, right) for left, right in merges],
            unk_token="<unk>",  # noqa: S106
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=with_sentencepiece_spaces(tokenizer),
        bos_token="<bos>",  # noqa: S106
        eos_token="<end_of_turn>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        additional_special_tokens=["<start_of_turn>"],
        chat_template=TEACHER_TEMPLATE,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_teacher_tokenizer() -> PreTrainedTokenizerFast:
    """BPE over characters with byte fallback, whose tokens may hold " and" and " is" after a word."""
    return spaced_tokenizer(tokenizer_corpus(), TEACHER_MERGES, TEACHER_WORD_BOUNDARY)


def build_other_teacher_tokenizer() -> PreTrainedTokenizerFast:
    """T5 style: Unigram over characters with "▁" for spaces, split before a space, 256 byte tokens as a fallback."""
    learner = Tokenizer(models.Unigram())
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.UnigramTrainer(vocab_size=OTHER_PIECES, unk_token="<unk>", show_progress=False)  # noqa: S106
    learner.train_from_iterator(tokenizer_corpus(), trainer)
    learned = json.loads(learner.to_str())["model"]["vocab"]
    # the trainer's order of equal scores, and their last digits, are random
    pieces = sorted((piece, round(score, 3)) for piece, score in learned if piece not in OTHER_SPECIALS)
    specials = [(name, 0.0) for name in OTHER_SPECIALS]
    byte_pieces = [(name, -20.0) for name in BYTE_TOKENS]
    tokenizer = Tokenizer(models.Unigram([*specials, *byte_pieces, *pieces], unk_id=0, byte_fallback=True))
    return PreTrainedTokenizerFast(
        tokenizer_object=with_sentencepiece_spaces(tokenizer),
        eos_token="</s>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        additional_special_tokens=["[INST]", "[/INST]"],
        chat_template=OTHER_TEMPLATE,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
