"""Log-probabilities, and sums over logits, from hidden states in tiles: never [tokens, vocabulary] at once."""

from crossdistill.ops.backbone import causal_lm, last_hidden_states
from crossdistill.ops.chosen import chosen_logits
from crossdistill.ops.head import LMHead
from crossdistill.ops.logprobs import TokenLogprobs, TopLogprobs, log_mass, token_logprobs, top_logprobs
from crossdistill.ops.sharded import full_shape, full_tensor
from crossdistill.ops.states import HiddenStates
from crossdistill.ops.tiled import Share, tiled_sum

__all__ = [
    "HiddenStates",
    "LMHead",
    "Share",
    "TokenLogprobs",
    "TopLogprobs",
    "causal_lm",
    "chosen_logits",
    "full_shape",
    "full_tensor",
    "last_hidden_states",
    "log_mass",
    "tiled_sum",
    "token_logprobs",
    "top_logprobs",
]
