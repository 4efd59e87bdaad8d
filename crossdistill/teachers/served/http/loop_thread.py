"""An event loop in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for other threads, which wait for their results."""

    def __init__(self) -> None:
        self._is_closed, self._lock = False, threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="crossdistill-requests", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and return its result. If the wait is interrupted, the coroutine is cancelled.

        Raises:
            RuntimeError: the loop is closed.
        """
        with self._lock:  # a stopped loop would accept the coroutine and never run it
            if self._is_closed:
                coroutine.close()
                raise RuntimeError("the loop is closed")
            future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Schedule a call. It takes no lock: the thread that a signal interrupts may hold it."""
        if not self._is_closed:
            self._loop.call_soon_threadsafe(function, *arguments)

    def close(self) -> None:
        """Cancel what still runs, and end the thread. Nothing can be run afterwards."""
        with self._lock:
            self._is_closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()
