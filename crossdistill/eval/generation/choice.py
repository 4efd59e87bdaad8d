"""The next token of each response, from one uniform number each, so that no response depends on its neighbours."""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from crossdistill.errors import InputError

_MOST_LIKELY = 1024  # tokens that nearly always hold the nucleus; sorting a whole vocabulary takes longer than a model


def choose(logits: Tensor, temperature: float, top_p: float, uniforms: Sequence[float]) -> Tensor:
    """Tokens by the inverse of the distribution function over the vocabulary, in the order of ids.

    Args:
        logits: float32 [rows, vocabulary], of the next token.
        temperature: 0 takes the most probable token.
        top_p: the smallest set of tokens whose probability reaches it is sampled from.
        uniforms: a number in [0, 1) for each row; unused at temperature 0.

    Returns:
        Ids, int64 [rows].

    Raises:
        InputError: there are no probabilities, because a logit is not a number or infinite.

    Example:
        >>> logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
        >>> [int(choose(logits, 1.0, 1.0, [u])) for u in (0.0, 0.49, 0.51, 0.79, 0.81)]
        [0, 0, 1, 1, 2]
        >>> int(choose(logits, 1.0, 0.6, [0.99])), int(choose(logits, 0.0, 1.0, [0.99]))
        (1, 0)
    """
    if temperature == 0:
        greatest, ids = logits.max(dim=-1)  # NaN if there is one
        _check(greatest.isfinite())
        return ids
    probabilities = (logits / temperature).softmax(dim=-1)
    if top_p < 1:
        probabilities = nucleus(probabilities, top_p)
    sums = probabilities.cumsum(dim=-1, dtype=torch.float64)
    _check(sums[:, -1] > 0)  # no NaN is
    targets = torch.tensor(uniforms, dtype=torch.float64, device=logits.device).unsqueeze(1) * sums[:, -1:]
    # a target below the last sum always has a token with probability after it
    return torch.searchsorted(sums, targets, right=True).squeeze(1)


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Probabilities with those outside the nucleus set to 0 (Holtzman et al. 2020, section 3.1).

    Args:
        probabilities: [rows, vocabulary].
        top_p: probability that the kept tokens reach together; the last one that is needed is kept.

    Example:
        >>> nucleus(torch.tensor([[0.1, 0.6, 0.3]]), 0.7).tolist() == torch.tensor([[0.0, 0.6, 0.3]]).tolist()
        True
    """
    size = probabilities.shape[-1]
    values, ids = probabilities.topk(min(_MOST_LIKELY, size))
    if size > _MOST_LIKELY and bool((values.sum(dim=-1) < top_p).any()):
        values, ids = probabilities.sort(descending=True, dim=-1)
    before = values.cumsum(dim=-1) - values
    return torch.zeros_like(probabilities).scatter(-1, ids, values.where(before < top_p, 0))


def _check(is_sound: Tensor) -> None:
    if not bool(is_sound.all()):
        raise InputError(
            "the model gives no probabilities of a next token, because its logits are not finite: its weights are "
            "damaged, or its dtype is too narrow for it (take bfloat16 or float32)."
        )


def generator_of(seed: int, problem: str, index: int) -> np.random.Generator:
    """The random numbers of one sample: they depend on these three alone.

    Args:
        seed: of the evaluation.
        problem: id of the problem.
        index: which of its samples.

    Example:
        >>> generator_of(0, "a", 1).random() == generator_of(0, "a", 1).random() != generator_of(0, "a", 2).random()
        True
    """
    words = np.frombuffer(sha256(problem.encode("utf-8", "surrogatepass")).digest(), dtype="<u4")
    return np.random.default_rng([seed, index, *words.tolist()])
