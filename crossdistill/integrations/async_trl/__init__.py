"""Asynchronous distillation: sampling and training at the same time, on TRL's AsyncDistillationTrainer.

:class:`RolloutWorker` samples with a :class:`Sampler` and scores with a :class:`crossdistill.distill.Distiller`, while
:class:`AsyncTrainer` trains on what was sampled up to `max_staleness` weight updates before (docs/asynchronous.md).
"""

from typing import TYPE_CHECKING

from crossdistill.lazy import names_of

if TYPE_CHECKING:
    from crossdistill.integrations.async_trl.folder_weights import FolderWeights
    from crossdistill.integrations.async_trl.local_sampler import LocalSampler
    from crossdistill.integrations.async_trl.sampler import Sampled, Sampler
    from crossdistill.integrations.async_trl.served_sampler import ServedSampler
    from crossdistill.integrations.async_trl.trainer import AsyncTrainer
    from crossdistill.integrations.async_trl.worker import RolloutWorker

__all__ = ["AsyncTrainer", "FolderWeights", "LocalSampler", "RolloutWorker", "Sampled", "Sampler", "ServedSampler"]

__getattr__ = names_of(
    __name__,
    {
        "AsyncTrainer": "trainer",
        "FolderWeights": "folder_weights",
        "LocalSampler": "local_sampler",
        "RolloutWorker": "worker",
        "Sampled": "sampler",
        "Sampler": "sampler",
        "ServedSampler": "served_sampler",
    },
)
