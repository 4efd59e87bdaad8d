"""The algorithm: sampled responses in, advantages and losses out. On torch alone, without TRL and transformers.

:class:`Distiller` is the whole of it. The trainer (:mod:`crossdistill.train`), plug-ins for other engines and training
loops of one's own are its callers.
"""

from typing import TYPE_CHECKING

from crossdistill.lazy import names_of

if TYPE_CHECKING:
    from crossdistill.distill.distiller import Distiller
    from crossdistill.distill.response import ScoredBatch, ScoredResponse
    from crossdistill.distill.rollout import Rollout, Turn
    from crossdistill.distill.routing import Routing
    from crossdistill.objectives.shared.policy_loss import clipped_policy_loss

__all__ = ["Distiller", "Rollout", "Routing", "ScoredBatch", "ScoredResponse", "Turn", "clipped_policy_loss"]

__getattr__ = names_of(
    __name__,
    {
        "Distiller": "distiller",
        "Rollout": "rollout",
        "Routing": "routing",
        "ScoredBatch": "response",
        "ScoredResponse": "response",
        "Turn": "rollout",
        "clipped_policy_loss": ".objectives.shared.policy_loss",
    },
)
