"""Weights to a vLLM server by way of a folder that both sides see, where NCCL is absent."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
from torch import Tensor

from crossdistill.errors import RolloutServerError
from crossdistill.train.vllm.weight_files import weight_files

_MAX_REASON = 300


class FolderWeights:
    """TRL's WeightTransferProtocol: writes the weights, and has the server load them while it samples nothing.

    Args:
        url: of the student's vLLM server, in development mode (``VLLM_SERVER_DEV_MODE=1``).
        folder: that the server sees under the same path; it has room for the model.
        timeout_s: for which the server may take to load weights.
        transport: replaces the network, for tests.
    """

    def __init__(
        self, url: str, folder: str | Path, timeout_s: float = 1800.0, transport: httpx.BaseTransport | None = None
    ):
        self.url, self._folder = url.rstrip("/").removesuffix("/v1"), Path(folder).absolute()
        self._client = httpx.Client(timeout=httpx.Timeout(timeout_s, connect=10.0), transport=transport)

    def init_weight_transfer(self) -> None:
        return

    def pause(self) -> None:
        """Stop sampling; what is under way goes on later."""
        self._post("/pause?mode=keep")

    def send_weights(self, iterator: Iterator[tuple[str, Tensor]]) -> None:
        """Have the server load all weights.

        Raises:
            RolloutServerError: it did not.
        """
        with weight_files(self._folder, iterator) as written:
            body = {"method": "reload_weights", "kwargs": {"weights_path": str(written)}}
            self._post("/collective_rpc", body)

    def resume(self) -> None:
        self._post("/resume")

    def destroy(self) -> None:
        self._client.close()

    def _post(self, path: str, body: Mapping[str, object] | None = None) -> None:
        asked = f"the server at {self.url} that samples ({path.partition('?')[0]})"
        try:
            response = self._client.post(self.url + path, json=body)
        except httpx.TransportError as error:
            raise RolloutServerError(f"{asked} does not answer ({type(error).__name__}): see its log.") from None
        if response.status_code == httpx.codes.NOT_FOUND:
            raise RolloutServerError(f"{asked} takes no weights: start vLLM with VLLM_SERVER_DEV_MODE=1.")
        if response.status_code != httpx.codes.OK:
            reason = " ".join(response.text.split())[:_MAX_REASON]
            raise RolloutServerError(f"{asked} failed with status {response.status_code} ({reason}): see its log.")
