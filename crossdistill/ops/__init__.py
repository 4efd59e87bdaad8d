"""Log-probabilities, and sums over logits, from hidden states in tiles: never [tokens, vocabulary] at once."""

from crossdistill.ops.backbone import causal_lm, last_hidden_states
from crossdistill.ops.chosen import chosen_logits
from crossdistill.ops.head import LMHead
from crossdistill.ops.logprobs import TokenLogprobs, TopLogprobs, log_mass, token_logprobs, top_logprobs
from crossdistill.ops.micro_batching import MICRO_BATCH_TOKENS, holds_mask, micro_batches, split_further
from crossdistill.ops.sharded import full_shape, full_tensor
from crossdistill.ops.states import HiddenStates
from crossdistill.ops.tiled import Share, tiled_sum
from crossdistill.ops.tiled_values import tiled_values

__all__ = [
    "MICRO_BATCH_TOKENS",
    "HiddenStates",
    "LMHead",
    "Share",
    "TokenLogprobs",
    "TopLogprobs",
    "causal_lm",
    "chosen_logits",
    "full_shape",
    "full_tensor",
    "holds_mask",
    "last_hidden_states",
    "log_mass",
    "micro_batches",
    "split_further",
    "tiled_sum",
    "tiled_values",
    "token_logprobs",
    "top_logprobs",
]
