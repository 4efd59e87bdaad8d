"""Log-probabilities of what ``generate`` samples, taken from the very logits that it samples from.

So no pass over the finished responses is needed to know them. Each forward pass of transformers' ``generate`` ends in
the logits of one token a row, [rows, V]; which token was drawn from them is told by the input of the next pass. So one
step's log-probabilities are held, and of earlier steps two numbers a row: memory grows with rows x V and never with
tokens x V.

Shapes: R rows, V vocabulary, T tokens of the longest response.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from crossdistill.ops import causal_lm
from crossdistill.ops.head import wide


class RowLogprobs(NamedTuple):
    """Log-probabilities of sampled responses under the policy that sampled them, in nats.

    Attributes:
        tokens: float32 [tokens] of each response.
        stops: float32 [tokens] of each response: log of the total probability of all stop tokens at each of its tokens.
    """

    tokens: list[np.ndarray]
    stops: list[np.ndarray]


class SampledLogprobs:
    """While it is open, it sees the logits of a causal language model, and keeps what is needed of them.

    They are those of the whole softmax, before `top_k`, `top_p` or a penalty reshape it.

    Args:
        model: a Hugging Face causal language model, perhaps with adapters.
        stop_ids: the token ids that end a response.
        temperature: divides the logits; it may differ from that of the sampling.

    Example:
        >>> import torch
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1}
        >>> model = LlamaForCausalLM(LlamaConfig(vocab_size=8, **sizes)).eval()
        >>> prompt = torch.tensor([[1, 2, 3]])
        >>> with SampledLogprobs(model, stop_ids=[2], temperature=1.0) as sampled:
        ...     ids = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=True, max_new_tokens=2)
        >>> response = ids[0, 3:].tolist()
        >>> found = sampled.of(prompt.tolist(), [response])
        >>> exact = model(ids).logits[0, 2:-1].log_softmax(-1)
        >>> bool((exact[range(len(response)), response] - torch.from_numpy(found.tokens[0])).abs().max() < 1e-5)
        True
    """

    def __init__(self, model: Any, stop_ids: Sequence[int], temperature: float):
        self._model = causal_lm(model)
        self._stop_ids = list(stop_ids)
        self._temperature = temperature
        self._is_understood = True
        self._num_rows = self._width = 0  # of what the first pass reads
        self._read: list[Tensor] = []  # [R] of each pass: the last token that it reads
        self._stops: list[Tensor] = []  # [R] of each pass
        self._tokens: list[Tensor] = []  # [R] of each pass but the latest, whose token is yet to be read
        self._latest: Tensor | None = None  # [R, V]

    def __enter__(self) -> "SampledLogprobs":
        self._hook = self._model.register_forward_hook(self._see, with_kwargs=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def of(self, prompt_ids: Sequence[Sequence[int]], completion_ids: Sequence[Sequence[int]]) -> RowLogprobs | None:
        """Those of the responses. To be called once.

        Args:
            prompt_ids: what ``generate`` was given, row by row, without padding.
            completion_ids: what it drew, row by row, up to the end of each response.

        Returns:
            The log-probabilities; None unless what was seen is one pass over the prompts and one for each token after
            that: a model may be compiled, prompts read in chunks, or several tokens tried at once. Further passes are
            ignored: a process makes them while others still draw.
        """
        latest, self._latest = self._latest, None
        num_tokens = max(map(len, completion_ids), default=0)
        if latest is None or not self._is_understood or not 0 < num_tokens <= len(self._read):
            return None
        drawn = _padded(completion_ids)
        if not self._has_read(prompt_ids, drawn):
            return None
        tokens = self._tokens[:num_tokens]
        if len(tokens) < num_tokens:  # the last one was not read any more
            tokens.append(_chosen(latest, drawn[:, -1].clamp(min=0)))
        lengths = [len(ids) for ids in completion_ids]
        return RowLogprobs(*(_by_row(numbers, lengths) for numbers in (tokens, self._stops[:num_tokens])))

    def _has_read(self, prompt_ids: Sequence[Sequence[int]], drawn: Tensor) -> bool:
        """Whether the passes read the prompts, and then the tokens that were drawn; int64 [R, T], -1 at padding."""
        if self._num_rows != len(drawn) or self._width < max(map(len, prompt_ids)):
            return False
        expected = torch.cat([torch.tensor([[ids[-1]] for ids in prompt_ids]), drawn], 1)[:, : len(self._read)]
        read = torch.stack(self._read[: expected.shape[1]], 1).cpu()
        return bool(((read == expected) | (expected < 0)).all())

    @torch.no_grad()
    def _see(self, _: Any, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        if torch.compiler.is_compiling():
            return
        ids, logits = named.get("input_ids", arguments[0] if arguments else None), getattr(output, "logits", None)
        if ids is None or logits is None or not self._fits(ids, logits):
            self._is_understood = False
            return
        last = ids[:, -1].clone()  # a view would hold all that the pass reads
        if self._latest is not None:
            self._tokens.append(_chosen(self._latest, last))
        self._read.append(last)
        self._latest = torch.log_softmax(wide(logits[:, -1]) / self._temperature, -1)
        self._stops.append(self._latest[:, self._stop_ids].logsumexp(-1))

    def _fits(self, ids: Tensor, logits: Tensor) -> bool:
        """Whether a pass is the first one, or reads one token more than the one before, with a cache that alone."""
        if not self._read:
            self._num_rows, self._width = ids.shape
        num_rows, width = ids.shape
        return num_rows == len(logits) == self._num_rows and width in {1, self._width + len(self._read)}


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """[R, T], -1 at padding."""
    return pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], batch_first=True, padding_value=-1)


def _chosen(logprobs: Tensor, ids: Tensor) -> Tensor:
    return logprobs.gather(1, ids.to(logprobs.device)[:, None])[:, 0]


def _by_row(numbers: Sequence[Tensor], lengths: Sequence[int]) -> list[np.ndarray]:
    table = torch.stack(list(numbers), 1).float().cpu().numpy()
    return [row[:length] for row, length in zip(table, lengths, strict=True)]
