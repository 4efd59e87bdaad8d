"""A program before its tests: what happens between the sandboxes."""

import json
import re
from dataclasses import replace
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from crossdistill.eval.grading.inside.values import decode, encode
from crossdistill.eval.sandbox import INTERRUPTED, Limits, Process, Program, Sandbox

LIMITS = Limits(seconds=60, cpu_seconds=60, output=64 << 20)
"""Of all tests of a problem together; each alone has its own limit of time."""
_INSIDE = "crossdistill.eval.grading.inside"
_NUMBERS = {int, float}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,9})?", re.ASCII)
_VERDICT = b'{"passed":'
_WORDS = {
    "seconds": "timed out",
    "cpu_seconds": "timed out",
    "memory": "used too much memory",
    "processes": "started too many processes",
    "output": "wrote too much",
    INTERRUPTED: "was interrupted",
}


def _source(name: str) -> str:
    spec = find_spec(f"{_INSIDE}.{name}")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


def _program(name: str) -> Program:
    return Program(_source(name), {f"{_INSIDE}.{part}": _source(part) for part in ("values", "channel")})


class Failed(Exception):  # noqa: N818 - not an error of ours
    """The program is wrong; the text says why."""


def by_asserts(sandbox: Sandbox, source: str, reference: dict[str, Any], seconds: float) -> None:
    """Run tests that are code against a program.

    The program and the tests are in two sandboxes. What they exchange are calls and values, so the program can neither
    see a test nor pass one but by returning what is expected.

    Raises:
        Failed: a test does.
    """
    with (
        sandbox.start(_program("candidate"), LIMITS) as candidate,
        sandbox.start(_program("judge"), LIMITS) as judge,
    ):
        names = _begin(candidate, source, reference["prefix"], seconds)
        setup = {key: reference[key] for key in ("prefix", "tests", "entry_point")}
        said = judge.ask(json.dumps({**setup, "names": names}).encode(), LIMITS.seconds)
        while said is not None and not said.startswith(_VERDICT):
            answer = candidate.ask(said, seconds)
            if answer is None:
                raise Failed(_reason(candidate))
            said = judge.ask(answer, LIMITS.seconds)
        if said is None:
            raise Failed(f"the tests {_reason(judge)}")
    verdict = json.loads(said)
    if not verdict["passed"]:
        raise Failed(verdict["reason"])


def by_calls(sandbox: Sandbox, source: str, reference: dict[str, Any], seconds: float) -> None:
    """Call a function with each case's input, and compare what it returns. Inputs and outputs are lines of JSON.

    Raises:
        Failed: a case does.
    """
    with sandbox.start(_program("candidate"), LIMITS) as candidate:
        _begin(candidate, source, reference["prefix"], seconds)
        for number, case in enumerate(reference["cases"], 1):
            arguments = [json.loads(line) for line in case["input"].splitlines() if line.strip()]
            request = {
                "call": reference["entry_point"],
                "arguments": encode(arguments, id),
                "keywords": {"dict": []},
            }
            answer = _ask(candidate, request, seconds)
            if "error" in answer:
                raise Failed(f"case {number}: {answer['error']}: {answer['text']}")
            if not _same(_value(answer), json.loads(case["output"])):
                raise Failed(f"case {number}: another value")


def by_output(sandbox: Sandbox, source: str, reference: dict[str, Any], seconds: float) -> None:
    """Run a program on each case's standard input, and compare what it prints.

    Raises:
        Failed: a case does.
    """
    limits = replace(LIMITS, seconds=seconds, cpu_seconds=seconds)
    program = Program(source)
    if reference["prefix"]:  # one after the other, because a `from __future__` has to come first in its text
        texts = (reference["prefix"], source)
        program = Program(f"for text in {texts!r}:\n    exec(compile(text, '<program>', 'exec'), globals())")
    for number, case in enumerate(reference["cases"], 1):
        outcome = sandbox.run(program, limits, case["input"].encode())
        if outcome.limit is not None:
            raise Failed(f"case {number}: {_WORDS[outcome.limit]}")
        if outcome.exit_code != 0:
            last = outcome.errors.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise Failed(f"case {number}: exit code {outcome.exit_code}: {last[0][:300]}")
        if not same_output(outcome.output.decode(errors="replace"), case["output"]):
            raise Failed(f"case {number}: other output")


def same_output(printed: str, expected: str) -> bool:
    """Whether outputs are the same but for spaces around lines, empty lines at both ends, and the form of numbers.

    LiveCodeBench's judge compares in this way, too.

    Example:
        >>> same_output(" 1.50 a \\n\\n", "1.5 a"), same_output("1 2", "1\\n2")
        (True, False)
    """
    ours, theirs = printed.strip().split("\n"), expected.strip().split("\n")
    return len(ours) == len(theirs) and all(
        one.strip() == other.strip() or list(map(_number, one.split())) == list(map(_number, other.split()))
        for one, other in zip(ours, theirs, strict=True)
    )


def _number(word: str) -> Decimal | str:
    return Decimal(word) if _NUMBER.fullmatch(word) else word


def _begin(candidate: Process, source: str, prefix: str, seconds: float) -> list[str]:
    answer = _ask(candidate, {"prefix": prefix, "source": source}, seconds)
    if "error" in answer:
        raise Failed(f"the program does not run: {answer['error']}: {answer['text']}")
    return [name for name in answer.get("names", ()) if isinstance(name, str)]


def _ask(candidate: Process, request: dict[str, Any], seconds: float) -> dict[str, Any]:
    """An answer of the program; it may be anything at all, so it is read with care."""
    line = candidate.ask(json.dumps(request).encode(), seconds)
    if line is None:
        raise Failed(_reason(candidate))
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        raise Failed("the program wrote to the grader's channel") from None
    if not isinstance(answer, dict):
        raise Failed("the program wrote to the grader's channel")
    return answer


def _value(answer: dict[str, Any]) -> object:
    try:
        return decode(answer["value"], lambda number: object())
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        raise Failed("the program wrote to the grader's channel") from None


def _same(value: object, expected: object) -> bool:
    """Equal as JSON is: a tuple is a list, and True is not 1."""
    if isinstance(value, list | tuple) and isinstance(expected, list):
        return len(value) == len(expected) and all(map(_same, value, expected))
    if isinstance(value, dict) and isinstance(expected, dict):
        return value.keys() == expected.keys() and all(_same(value[key], expected[key]) for key in expected)
    both_numbers = type(value) in _NUMBERS and type(expected) in _NUMBERS
    return (type(value) is type(expected) or both_numbers) and value == expected


def _reason(process: Process) -> str:
    outcome = process.finish()
    return "ended early" if outcome.limit is None else _WORDS[outcome.limit]
