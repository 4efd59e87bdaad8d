"""A process that compares answers by math-verify: lines of JSON in, lines of JSON out.

Algebra may take for ever or all memory, so it happens where it can be ended; math-verify's own limits of time are
signals, which work in a main thread only.
"""

from typing import Any

from crossdistill.eval.grading.serving import serve


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


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Whether the question's ``answer`` equals its ``gold``, and why it could not be compared."""
    try:
        return {"equal": equal(question["gold"], question["answer"])}
    except Exception as error:  # noqa: BLE001 - an answer that breaks algebra is wrong
        return {"equal": False, "reason": f"cannot be compared: {type(error).__name__}"}


if __name__ == "__main__":
    import math_verify  # noqa: F401 - takes a second; the first question need not wait for it

    serve(answer)
