"""Weights to a vLLM server by way of a folder that both sides see, where NCCL is absent.

It needs no vLLM on the side that trains, which TRL's client of the synchronous trainer does.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
from torch import Tensor

from crossdistill.errors import InputError, RolloutServerError
from crossdistill.space import telling_out_of_space
from crossdistill.train.vllm.weight_files import check_folder, weight_files

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
        self._timeout, self._transport = httpx.Timeout(timeout_s, connect=10.0), transport

    def check_student(self, is_tied: bool) -> None:
        """Check that the server can load the student's weights, before anything is sampled.

        Args:
            is_tied: whether the student's head is its embeddings.

        Raises:
            InputError: it cannot, or the folder cannot be written to.
            RolloutServerError: it does not answer.
        """
        check_folder(self._folder, str(self._folder))
        config = self._ask("GET", "/server_info?config_format=json").json()["vllm_config"]
        if is_tied and config["device_config"]["device"] == "cpu":
            raise InputError(
                f"the server at {self.url} runs on a CPU, where vLLM packs the student's head apart from the "
                "embeddings that it is tied to and does not reload it: serve the student from a GPU, or untie its head."
            )

    # ---- TRL's WeightTransferProtocol -------------------------------------------------------------------------------

    def init_weight_transfer(self) -> None:
        return

    def pause(self) -> None:
        """Stop sampling; what is under way goes on later."""
        self._ask("POST", "/pause?mode=keep")

    def send_weights(self, iterator: Iterator[tuple[str, Tensor]]) -> None:
        """Have the server load all weights.

        Raises:
            RolloutServerError: it did not.
            OutOfSpaceError: the folder's disk is full.
        """
        with telling_out_of_space(self._folder), weight_files(self._folder, iterator) as written:
            body = {"method": "reload_weights", "kwargs": {"weights_path": str(written)}}
            try:
                self._ask("POST", "/collective_rpc", body)
            except RolloutServerError as error:
                raise RolloutServerError(
                    f"{error} It may hold half of the weights now: see that it sees {self._folder} under this path, "
                    "and start it again."
                ) from error

    def resume(self) -> None:
        self._ask("POST", "/resume")

    def destroy(self) -> None:
        return

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> httpx.Response:
        asked = f"the server at {self.url} that samples ({path.partition('?')[0]})"
        try:
            with httpx.Client(timeout=self._timeout, transport=self._transport) as client:
                response = client.request(method, self.url + path, json=body)
        except httpx.TransportError as error:
            raise RolloutServerError(f"{asked} does not answer ({type(error).__name__}): see its log.") from None
        if response.status_code == httpx.codes.NOT_FOUND:
            raise InputError(f"{asked} takes no weights: start vLLM with VLLM_SERVER_DEV_MODE=1.")
        if response.status_code != httpx.codes.OK:
            reason = " ".join(response.text.split())[:_MAX_REASON]
            raise RolloutServerError(f"{asked} failed with status {response.status_code} ({reason}): see its log.")
        return response
