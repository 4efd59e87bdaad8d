"""TRL's engine of rollouts, whose weights also reach vLLM without NCCL: by a folder, and on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from trl.generation.vllm_generation import VLLMGeneration
from trl.trainer import distillation_trainer

from crossdistill.errors import InputError, OutOfSpaceError, RolloutServerError
from crossdistill.space import telling_out_of_space
from crossdistill.train.together import raised_on_all
from crossdistill.train.vllm.client import RolloutClient
from crossdistill.train.vllm.weight_files import weight_files


class RolloutEngine(VLLMGeneration):
    """vLLM, which samples with the student's weights.

    Args:
        weights_folder: through which a server gets the weights; None for NCCL.
        **options: TRL's.
    """

    def __init__(self, weights_folder: str | None = None, **options: Any):
        self._folder = None if weights_folder is None else Path(weights_folder).absolute()
        super().__init__(**options)

    def _init_vllm(self) -> None:
        if self.mode != "server":
            super()._init_vllm()
            return
        with raised_on_all(InputError):
            if self.accelerator.is_main_process:
                url = self.server_base_url or f"http://{self.server_host}:{self.server_port}"
                self.vllm_client = RolloutClient(url, self.server_timeout, self.group_port)
                self.vllm_client.check(self.model.config.get_text_config().tie_word_embeddings)
                if self._folder is None:
                    self.vllm_client.init_communicator(self.accelerator.device)

    def sync_weights(self) -> None:
        """Send the student's weights to vLLM. Every process calls it: sharded weights are gathered.

        Raises:
            RolloutServerError: the server did not load them.
            OutOfSpaceError: the folder's disk is full.
        """
        if self._folder is not None:
            self._send_by(self._folder)
        elif self.mode == "colocate" and self.accelerator.device.type == "cpu":
            self._reload()
        else:
            with raised_on_all(RolloutServerError):
                super().sync_weights()

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Sample, as TRL does.

        Raises:
            RolloutServerError: the server failed; in all processes alike.
        """
        if self.mode != "server":
            return super().generate(*args, **kwargs)
        with raised_on_all(RolloutServerError):
            samples = super().generate(*args, **kwargs)
            if self.accelerator.is_main_process:
                self.vllm_client.raise_failure()
        return samples

    def _send_by(self, folder: Path) -> None:
        params = self._iter_named_params()
        with raised_on_all(RolloutServerError, OutOfSpaceError):
            try:
                if self.accelerator.is_main_process:
                    with telling_out_of_space(folder), weight_files(folder, params) as written:
                        self.vllm_client.reload_weights(written)
                    self.vllm_client.reset_prefix_cache()
            finally:
                for _ in params:  # the others gather, and do not wait for a process that has failed
                    pass

    def _reload(self) -> None:
        """Load all weights anew: on a CPU vLLM packs them as it loads them, and TRL would write into packed ones."""
        copies = ((name, param.detach().clone()) for name, param in self._iter_named_params())
        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": copies})
        self.llm.apply_model(pack_tied_heads)
        self.llm.reset_prefix_cache()


def pack_tied_heads(model: nn.Module) -> None:
    """Pack the heads of a model of vLLM's that are tied to the embeddings, which its reload leaves as they were."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for module in model.modules():
        if isinstance(module, ParallelLMHead):
            module.quant_method.process_weights_after_loading(module)


@contextmanager
def engine_for_trl(weights_folder: str | None) -> Iterator[None]:
    """While a TRL trainer is made, the engine that it makes is ours.

    Args:
        weights_folder: of :class:`RolloutEngine`.
    """

    def made(**options: Any) -> RolloutEngine:
        return RolloutEngine(weights_folder, **options)

    before, distillation_trainer.VLLMGeneration = distillation_trainer.VLLMGeneration, made
    try:
        yield
    finally:
        distillation_trainer.VLLMGeneration = before
