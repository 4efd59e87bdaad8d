"""The source as two causal language models with tokenizers of their own.

A model's hidden state is the current token, one-hot; its output weights are a table of log-probabilities of the next
token. Tokens outside the language are impossible, and after any of them (the prompt) the language starts.
"""

import itertools
import math
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

from crossdistill.tokens.families.byte_level import BYTE_TO_CHAR, bytes_to_piece
from tests.seam.source import Source

IMPOSSIBLE = -1e4
STOPS = ("<|end|>", "<|stop|>")  # the first is the tokenizer's end token, the second is declared by the model
STOP_SHARES = {STOPS[0]: 0.7, STOPS[1]: 0.3}
MERGES = (("a", "a"), ("a", "b"))
BYTE_LEVEL, SENTENCEPIECE = "byte_level", "sentencepiece"


class MarkovConfig(PreTrainedConfig):
    model_type = "markov-toy"

    def __init__(self, vocab_size: int = 1, **kwargs: Any):
        self.vocab_size = self.hidden_size = vocab_size
        super().__init__(**kwargs)


class MarkovModel(PreTrainedModel):
    config_class = MarkovConfig

    def __init__(self, config: MarkovConfig):
        super().__init__(config)
        self.embed_tokens = torch.nn.Embedding(config.vocab_size, config.vocab_size)
        self.post_init()

    def forward(self, input_ids: torch.Tensor, **_: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=self.embed_tokens(input_ids))


class MarkovForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = MarkovConfig
    base_model_prefix = "model"

    def __init__(self, config: MarkovConfig):
        super().__init__(config)
        self.model = MarkovModel(config)
        self.lm_head = torch.nn.Linear(config.vocab_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids: torch.Tensor, **_: Any) -> CausalLMOutput:
        return CausalLMOutput(logits=self.lm_head(self.model(input_ids).last_hidden_state))

    @torch.no_grad()
    def set_table(self, log_probs: torch.Tensor) -> None:
        """log_probs[u, v] = log P(v follows u)."""
        self.model.embed_tokens.weight.copy_(torch.eye(len(log_probs)))
        self.lm_head.weight.copy_(log_probs.T)


def tokenizer(alphabet: tuple[str, str], merges: tuple[tuple[str, str], ...], family: str) -> PreTrainedTokenizerFast:
    """All 256 bytes, the characters for which `a` and `b` stand, the merged tokens and the two stops."""
    letters = dict(zip("ab", alphabet, strict=True))
    if family == BYTE_LEVEL:
        letters = {name: bytes_to_piece(letter.encode()) for name, letter in letters.items()}
        pieces = list(BYTE_TO_CHAR.values())
    else:
        pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    whole = [tuple(letter) for letter in letters.values() if len(letter) > 1 and merges]  # bytes into a character
    pairs = [*whole, *((letters[left], letters[right]) for left, right in merges)]
    entries = dict.fromkeys([*pieces, *(letters.values() if merges else ()), *map("".join, pairs)])
    vocabulary = {piece: index for index, piece in enumerate(entries)}
    if family == BYTE_LEVEL:
        made = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        made.decoder = decoders.ByteLevel()
    else:
        made = Tokenizer(
            models.BPE(vocab=vocabulary, merges=pairs, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
        )
        made.normalizer = normalizers.Replace(" ", "▁")
        made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens([AddedToken(stop, special=True, normalized=False) for stop in STOPS])
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token=STOPS[0])


Row = dict[int, float]
"""Token id -> probability."""


def _model(made: PreTrainedTokenizerFast, rows: dict[int, Row], start: Row) -> MarkovForCausalLM:
    table = torch.full((len(made), len(made)), IMPOSSIBLE)
    for state in range(len(made)):
        for token, probability in rows.get(state, start).items():
            table[state, token] = math.log(probability) if probability else IMPOSSIBLE
    model = MarkovForCausalLM(MarkovConfig(len(made))).eval()
    model.set_table(table)
    model.generation_config.eos_token_id = made.convert_tokens_to_ids(STOPS[1])
    return model


def _stop(made: PreTrainedTokenizerFast, probability: float) -> dict[int, float]:
    return {made.convert_tokens_to_ids(stop): share * probability for stop, share in STOP_SHARES.items()}


def student(source: Source, alphabet: tuple[str, str]) -> tuple[MarkovForCausalLM, PreTrainedTokenizerFast]:
    """One token a byte: a character of several bytes is its first byte, and then certainly the others."""
    made = tokenizer(alphabet, (), BYTE_LEVEL)
    ids = {name: made(letter).input_ids for name, letter in zip("ab", alphabet, strict=True)}
    start, rows = {}, {}
    for state, step in source.steps.items():
        row = {ids[name][0]: step[name] for name in "ab"} | _stop(made, step["."])
        if state:
            rows[ids[state][-1]] = row
        else:
            start = row
    for spelling in ids.values():
        rows |= {first: {second: 1.0} for first, second in itertools.pairwise(spelling)}
    return _model(made, rows, start), made


def teacher(
    source: Source, alphabet: tuple[str, str], family: str = BYTE_LEVEL
) -> tuple[MarkovForCausalLM, PreTrainedTokenizerFast]:
    """Tokens aa, ab, b and a, with their exact probabilities under the source."""
    made = tokenizer(alphabet, MERGES, family)
    letters = dict(zip("ab", alphabet, strict=True))
    ids = {}
    for name in ("aa", "ab", "a", "b"):
        (ids[name],) = made("".join(letters[char] for char in name)).input_ids
    after_a = source.steps["a"]

    def row(state: str) -> dict[int, float]:
        step = source.steps[state]
        return {
            ids["b"]: step["b"],
            ids["aa"]: step["a"] * after_a["a"],
            ids["ab"]: step["a"] * after_a["b"],
            ids["a"]: step["a"] * after_a["."],  # only a stop can follow, or the token were longer
        } | _stop(made, step["."])

    rows = {ids["aa"]: row("a"), ids["ab"]: row("b"), ids["b"]: row("b"), ids["a"]: _stop(made, 1.0)}
    return _model(made, rows, row("")), made
