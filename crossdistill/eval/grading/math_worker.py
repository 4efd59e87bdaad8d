"""A process that compares answers by math-verify: lines of JSON in, lines of JSON out.

Algebra may take for ever or all memory, so it happens where it can be ended; math-verify's own limits of time are
signals, which work in a main thread only.
"""

import json
import logging
import resource
import signal
import sys
from typing import Any

MEMORY = 3 << 30
SURELY_ENDED_SECONDS = 60
"""Ends a worker whose parent is gone."""


def equal(gold: str, answer: str) -> bool:
    """Whether math-verify holds two expressions for equal.

    Example:
        >>> equal("(x+1)^2", "x^2+2x+1")
        True
    """
    from math_verify import verify

    return bool(verify(_parse(gold), _parse(answer), allow_set_relation_comp=True, timeout_seconds=None))


def _parse(text: str) -> list[Any]:
    from math_verify import parse

    parsed: list[Any] = parse(rf"\boxed{{{text}}}", parsing_timeout=None)
    return parsed


def main() -> None:
    """Answer until no one asks."""
    import math_verify  # noqa: F401 - takes a second; the first question need not wait for it

    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        signal.alarm(SURELY_ENDED_SECONDS)
        question = json.loads(line)
        try:
            answer: dict[str, Any] = {"equal": equal(question["gold"], question["answer"])}
        except Exception as error:  # noqa: BLE001 - an answer that breaks algebra is wrong
            answer = {"equal": False, "reason": f"cannot be compared: {type(error).__name__}"}
        print(json.dumps(answer), flush=True)
        signal.alarm(0)


if __name__ == "__main__":
    main()
