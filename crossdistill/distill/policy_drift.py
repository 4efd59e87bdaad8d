"""Policy drift: how far the policy that trains is from the one that sampled.

At the first optimisation step on a rollout both are the same model, so the importance ratio is 1 by definition, up to
the numerics of the engines that computed the two log-probabilities. Whatever else moves them (noise in training mode,
another model behind the sampler) is learnt from as if it were the teacher's wish, whether or not an objective computes
a ratio.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from crossdistill.distill.response import ScoredResponse
from crossdistill.findings import Kind, Severity, When
from crossdistill.ops import HiddenStates, token_logprobs

MAX_TOKENS = 1024
"""Tokens that are measured, at most: so it costs little beside the loss, and the mean is known to a few per cent."""
EXACT = 1e-5
"""Mean |log ratio| in nats a token, below which no noise or branch of training mode is looked for. Between the logits
that ``generate`` sampled from and the pass that trains it is below 1e-6 on the demo and 2.5e-6 with SmolLM2-135M, both
in float32; in half precision it is above, so that every run looks once. Between two passes of one kind it is 1e-7 in
float32, and 0 if their shapes are the same."""
MAX_STANDARD_ERRORS = 4.0
"""Of a mean log ratio, that are taken for chance."""

OTHER_POLICY = Kind(
    "other_policy",
    Severity.REFUSAL,
    When.FIRST_STEP,
    "the policy that trains is not the one that sampled: at the first step on a rollout their log-probabilities differ "
    "by {nats} nats a token, and numerics explain {largest}. {way_out}.",
    "the student learns from importance ratios that are no matter of its weights",
)


class PolicyDrift(NamedTuple):
    """Sums over measured tokens, to be added up over processes.

    Attributes:
        tokens: measured.
        absolute: sum of |log pi_theta - log pi_old| in nats.
        signed: sum of log pi_theta - log pi_old in nats.
    """

    tokens: float
    absolute: float
    signed: float = 0.0

    @property
    def mean(self) -> float:
        """Mean |log ratio|, nats a token; 0 without tokens."""
        return self.absolute / self.tokens if self.tokens else 0.0

    @property
    def bias(self) -> float:
        """Mean log ratio, nats a token; 0 without tokens."""
        return self.signed / self.tokens if self.tokens else 0.0


class Numerics(NamedTuple):
    """How far numerics alone take two policies apart that are one, in nats a token.

    Attributes:
        mean: largest mean |log ratio|.
        bias: largest size of the mean log ratio, but for chance: rounding goes either way.

    Example:
        >>> Numerics(0.25, bias=0.05).unexplained(PolicyDrift(tokens=100, absolute=20, signed=-19))
        {'nats': '0.19', 'largest': '0.13 in one direction'}
    """

    mean: float
    bias: float = math.inf

    def unexplained(self, drift: PolicyDrift) -> dict[str, str] | None:
        """What of a drift they do not explain, and what they do, for :data:`OTHER_POLICY`; None if they explain all."""
        if drift.mean > self.mean:
            return {"nats": f"{drift.mean:.2g}", "largest": f"{self.mean:g}"}
        largest = self.bias + MAX_STANDARD_ERRORS * drift.mean / math.sqrt(max(1.0, drift.tokens))
        if abs(drift.bias) > largest:
            return {"nats": f"{abs(drift.bias):.2g}", "largest": f"{largest:.2g} in one direction"}
        return None


SAME_ENGINE = Numerics(1e-3)
"""Of one engine in float32."""
SAME_ENGINE_HALF = Numerics(0.05)
"""Likewise in bfloat16 or float16, or if a GPU multiplies float32 as TF32, between two passes of one kind: large models
round otherwise in batches of another shape, by 0.01 or so (SmolLM2-135M alone against a batch of four: 0.001)."""
DECODED_HALF = Numerics(0.25, bias=0.05)
"""Likewise if ``generate`` sampled, which reads a token at a time. In bfloat16 logits are rounded to 1/8 from 16 on and
to 1/4 from 32 on: log-probabilities of SmolLM2-135M, whose largest logits are about 27, differ by 0.03 nats a token
from those of the pass that trains, with bfloat16 weights and under autocast alike, and those of Gemma-3-270M by 0.036;
larger logits are further apart. Rounding goes either way. The bias that it leaves is half the variance of the log
ratio, by which a token is less probable on average under another policy than under the one that drew it: 0.001 if the
mean is 0.03, and 0.05 if it is 0.25."""
OTHER_ENGINE = Numerics(0.25)
"""Likewise if another engine sampled. Reports of vLLM against a training engine in bfloat16 range up to 0.05 for dense
models and to 0.2 for mixtures of experts, whose routers decide otherwise; a sampler with other weights is at 1 or more.
What it reports may be renormalised over the tokens that `top_p` or `top_k` left, which is a bias."""


@torch.no_grad()
def policy_drift(
    responses: Sequence[ScoredResponse], states: HiddenStates, temperature: float, max_tokens: int = MAX_TOKENS
) -> PolicyDrift:
    """Measure the drift at evenly spaced supervised tokens.

    Args:
        responses: scored.
        states: those that predict the supervised tokens, response by response, [N, H]: of the pass that trains.
        temperature: of the old log-probs.
        max_tokens: measured at most.
    """
    none = np.zeros(0)
    ids = np.concatenate([none, *(item.response.ids[item.mask] for item in responses)]).astype(np.int64)
    old = np.concatenate([none, *(item.student_logprobs[item.mask] for item in responses)])
    rows = np.linspace(0, len(ids) - 1, min(len(ids), max_tokens)).round().astype(np.int64)
    at = states.at(torch.from_numpy(rows).to(states.hidden.device))
    chosen = torch.from_numpy(ids[rows]).to(states.hidden.device)
    new = token_logprobs(*at, chosen, temperature).logprobs.double().cpu().numpy()
    gaps = new - old[rows]
    return PolicyDrift(float(len(rows)), float(np.abs(gaps).sum()), float(gaps.sum()))


def numerics_of(states: HiddenStates, is_decoded: bool = False) -> Numerics:
    """What the numerics of one engine explain.

    Args:
        states: of the pass that trains; their dtype and that of autocast tell its precision.
        is_decoded: whether the old log-probs are those that ``generate`` sampled by, one token a pass.
    """
    device = states.hidden.device.type
    is_half = {states.hidden.dtype, states.head.weight.dtype} & {torch.bfloat16, torch.float16}
    uses_tf32 = device == "cuda" and torch.get_float32_matmul_precision() != "highest"
    if not (is_half or torch.is_autocast_enabled(device) or uses_tf32):
        return SAME_ENGINE
    return DECODED_HALF if is_decoded else SAME_ENGINE_HALF
