"""A server of a trained model, for the time of its evaluation."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.error import URLError
from urllib.request import urlopen

from crossdistill.errors import InputError

PATIENCE_S = 1_800.0
"""How long a server may take to load a model."""


@contextmanager
def serving(command: Sequence[str], model: str, url: str, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Serve a model.

    Args:
        command: of the server; ``{model}`` in it is replaced.
        model: a folder or a hub id.
        url: at which the server then lists its models, under ``/v1/models``.
        patience_s: seconds that it may take until then.

    Raises:
        InputError: something answers there already, the command cannot be started, or the server ends or takes longer.
    """
    if _answers(url):
        raise InputError(f"something answers at {url} already: end it, or set eval.url and the port in eval.serve.")
    argv = [part.replace("{model}", model) for part in command]  # other braces are JSON
    try:
        server = subprocess.Popen(argv)  # noqa: S603 - the user's own command
    except OSError as error:
        raise InputError(f"the server {argv[0]!r} cannot be started ({error.strerror}): see eval.serve.") from None
    try:
        _wait(server, url, patience_s)
        yield
    finally:
        server.terminate()
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(server: "subprocess.Popen[bytes]", url: str, patience_s: float) -> None:
    end = time.monotonic() + patience_s
    while not _answers(url):
        if server.poll() is not None:
            raise InputError(f"the server of the model ended with code {server.returncode}: see its messages above.")
        if time.monotonic() > end:
            raise InputError(
                f"the server of the model does not answer at {url} after {patience_s:g} s: see eval.serve."
            )
        time.sleep(min(1.0, patience_s / 10))


def _answers(url: str) -> bool:
    try:
        with urlopen(f"{url.rstrip('/')}/v1/models", timeout=10) as answer:  # noqa: S310 - the user's own URL
            return bool(answer.status == 200)
    except (URLError, TimeoutError, ConnectionError):
        return False
