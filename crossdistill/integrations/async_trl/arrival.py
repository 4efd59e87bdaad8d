"""Whether weights arrive in the engine that samples: it must move as the policy that trains does.

The age of a sample explains some of its log-ratio, so samples alone do not tell whether the engine has stood still.
The log-probabilities of a fixed text do: both sides give them after every update.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from crossdistill.findings import Kind, Severity, When
from crossdistill.integrations.async_trl.sampler import Sampler
from crossdistill.ops import LMHead, token_logprobs
from crossdistill.ops.backbone import backbone_of, causal_lm

MIN_MOVE = 0.002
"""Mean change of the policy's log-probabilities since the first update, in nats a token, from which on the engine's
must have changed too. The numerics of an engine do not change from one update to the next, even in bfloat16."""
MIN_SHARE = 0.25
"""Of the policy's change, that the engine's must reach."""
NUM_TEXTS = 8
"""Beginnings of prompts that are compared, of at most MAX_TOKENS tokens."""
MAX_TOKENS = 128

STANDS_STILL = Kind(
    "sampler_stands_still",
    Severity.REFUSAL,
    When.DURING,
    "the weights do not reach the engine that samples: since the first update the log-probabilities of a fixed text "
    "have changed by {policy} nats a token in the policy that trains and by {engine} in the engine. See that the "
    "engine loads the weights of every update (its log), those of adapters too.",
    "the student learns from samples of a policy that is older than they say",
)

_BLIND = (
    "the engine that samples cannot give the log-probabilities of a prompt, so weights that do not reach it go "
    "unnoticed unless samples are fresh: implement Sampler.prompt_logprobs, or serve the student with vLLM."
)
_LOGGER = logging.getLogger("crossdistill")


class Arrival:
    """Compares the engine with the policy that trains, after each weight update.

    Args:
        texts: token ids of what is compared.

    Example:
        >>> arrival, first = Arrival(), np.array([-1.0, -2.0])
        >>> arrival.judge(first, first)
        >>> arrival.judge(first + 0.1, first + 0.1)
        >>> try:
        ...     arrival.judge(first + 0.2, first)
        ... except ValueError as error:
        ...     print(str(error)[:53])
        the weights do not reach the engine that samples: sin
    """

    def __init__(self, texts: Sequence[Sequence[int]] = ()):
        self.texts = texts
        self._first: tuple[np.ndarray, np.ndarray] | None = None
        self._is_blind = False

    def ask(self, sampler: Sampler, policy: np.ndarray) -> None:
        """Judge an update; an engine that cannot be asked is warned of once.

        Args:
            sampler: the engine.
            policy: as in :meth:`judge`.

        Raises:
            FindingError: the engine still has the weights of the first update.
            RolloutServerError: it failed.
        """
        engine = sampler.prompt_logprobs(self.texts)
        if engine is not None:
            self.judge(policy, np.concatenate(engine))
        elif not self._is_blind:
            self._is_blind = True
            _LOGGER.warning(_BLIND)

    def judge(self, policy: np.ndarray, engine: np.ndarray) -> None:
        """Judge an update by the log-probabilities of the same tokens; the first one is what the others are held to.

        Args:
            policy: nats, float [N], of the policy that trains.
            engine: nats, float [N], of the engine.

        Raises:
            FindingError: the engine still has the weights of the first update.
        """
        if self._first is None:
            self._first = policy, engine
            return
        moved, followed = map(_mean_change, (policy, engine), self._first)
        if moved > MIN_MOVE and not followed >= MIN_SHARE * moved:
            raise STANDS_STILL.error(policy=f"{moved:.2g}", engine=f"{followed:.2g}")


def _mean_change(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def texts_of(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """What is compared: the beginnings of prompts that have a second token, which something precedes."""
    return [list(ids[:MAX_TOKENS]) for ids in prompts if len(ids) > 1][:NUM_TEXTS]


@torch.no_grad()
def policy_logprobs(model: Any, texts: Sequence[Sequence[int]]) -> np.ndarray:
    """What the policy that trains gives to each token but the first of each text.

    Args:
        model: a Hugging Face causal language model, perhaps with adapters.
        texts: token ids, packed into one row as in training.

    Returns:
        Nats at temperature 1, float64, text by text.
    """
    device = next(model.parameters()).device
    ids = torch.cat([torch.tensor(text) for text in texts]).to(device)
    positions = torch.cat([torch.arange(len(text)) for text in texts]).to(device)
    output = backbone_of(causal_lm(model))(input_ids=ids[None], position_ids=positions[None], use_cache=False)
    follows = positions[1:] > 0
    hidden = output.last_hidden_state[0, :-1][follows]
    logprobs = token_logprobs(hidden, LMHead.from_model(model), ids[1:][follows], 1.0).logprobs
    return logprobs.double().cpu().numpy()
