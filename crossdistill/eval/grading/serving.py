"""The inside of a process of :class:`crossdistill.eval.grading.workers.Workers`."""

import json
import logging
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

MEMORY = 3 << 30
SURELY_ENDED_SECONDS = 60
"""Ends a process whose parent is gone."""


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]], seconds: int = SURELY_ENDED_SECONDS) -> None:
    """Answer questions, one a line, until no one asks.

    Args:
        answer: of one question, as JSON data.
        seconds: after which a question ends the process, if its parent has not.
    """
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    out, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    print(json.dumps({"ready": True}), file=out, flush=True)
    for line in sys.stdin:
        signal.alarm(seconds)
        print(json.dumps(answer(json.loads(line))), file=out, flush=True)
        signal.alarm(0)
