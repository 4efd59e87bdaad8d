"""vLLM's server, asked in TRL's way, with weights by NCCL or a folder, and each failure told in one sentence."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trl.generation.vllm_client import VLLMClient

from crossdistill.errors import InputError, RolloutServerError

RELOAD_TIMEOUT_S = 1800.0
"""For which the server may take to load weights."""
_MAX_REASON = 300


class RolloutClient(VLLMClient):
    """TRL's client of vLLM's server.

    Args:
        url: of the server.
        timeout_s: for which a server that starts is waited for.
        group_port: of this machine, at which the server joins the group of NCCL.

    Raises:
        InputError: nobody answers, or the server is not one that takes weights.
    """

    def __init__(self, url: str, timeout_s: float, group_port: int = 51216):
        self._failure: RolloutServerError | None = None
        try:
            super().__init__(base_url=url, group_port=group_port, connection_timeout=timeout_s)
            self._config = self.get_server_info()
        except (OSError, RuntimeError) as error:  # TRL names the address, the reason and the way out
            raise InputError(str(error)) from error
        for adapter in self.session.adapters.values():  # TRL's tries again, and would then hide what the server said
            adapter.max_retries = adapter.max_retries.new(raise_on_status=False)

    def check(self, is_tied: bool) -> None:
        """Check that the server can sample for a run.

        Args:
            is_tied: whether the student's head is its embeddings.

        Raises:
            InputError: it cannot.
        """
        server, mode = f"vLLM's server at {self.base_url}", self._config["model_config"]["logprobs_mode"]
        if mode != "processed_logprobs":
            raise InputError(
                f"{server} returns {mode}, which are not those of the distribution that it samples from: start it "
                "with --logprobs-mode processed_logprobs."
            )
        if is_tied and self._config["device_config"]["device"] == "cpu":
            raise InputError(
                f"{server} runs on a CPU, where vLLM packs the student's head apart from the embeddings that it is "
                "tied to and does not reload it: set vllm_mode to colocate, or serve the student from a GPU."
            )

    def init_communicator(self, device: Any = 0) -> None:
        """Join the server in a group of NCCL, as TRL does.

        Raises:
            InputError: the server or the device cannot.
        """
        try:
            super().init_communicator(device)
        except RuntimeError as error:  # of TRL, NCCL or the server
            raise InputError(str(error)) from error

    def update_named_params(self, metadata: Any, named_params: Iterator[Any]) -> None:
        """Send weights by NCCL, as TRL does.

        Raises:
            RolloutServerError: the server did not take them.
        """
        try:
            super().update_named_params(metadata, named_params)
        finally:
            for _ in named_params:  # the other processes gather all of them, and would wait
                pass

    def reload_weights(self, folder: Path) -> None:
        """Have the server load the weights in a folder, which it sees under the same path.

        Raises:
            RolloutServerError: it did not.
        """
        body = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
        try:
            self._post(f"{self.base_url}/collective_rpc", json=body, timeout=RELOAD_TIMEOUT_S)
        except RolloutServerError as error:
            raise RolloutServerError(
                f"{error} It may hold half of the weights now: see that it sees {folder.parent} under this path, and "
                "start it again."
            ) from error

    def reset_prefix_cache(self) -> None:
        """As TRL's, which before vLLM 0.26 passes by :meth:`_post`."""
        self._post(f"{self.base_url}/reset_prefix_cache")

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """As TRL's. A failure is kept for :meth:`raise_failure`: the other processes wait for samples first."""
        try:
            return super().generate(*args, **kwargs)
        except RolloutServerError as error:
            self._failure = error
            return {"prompt_ids": [], "completion_ids": [], "logprobs": []}

    def raise_failure(self) -> None:
        """Raise the failure of the latest :meth:`generate`, if it has failed."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _post(self, url: str, **options: Any) -> Any:
        """As TRL's, with an error of ours in place of those of two libraries."""
        import requests

        asked = f"vLLM's server at {self.base_url} ({urlsplit(url).path})"
        try:
            response = self.session.post(url, **options)
        except requests.RequestException as error:
            raise RolloutServerError(f"{asked} does not answer ({_one_line(str(error))}): see its log.") from error
        if response.status_code != requests.codes.ok:
            reason = _one_line(response.text)
            raise RolloutServerError(f"{asked} failed with status {response.status_code} ({reason}): see its log.")
        return response.json() if response.content else None


def _one_line(text: str) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= _MAX_REASON else f"{line[:_MAX_REASON]} ..."
