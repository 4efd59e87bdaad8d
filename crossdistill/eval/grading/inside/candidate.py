"""Runs a response's program, and calls its functions as it is asked to. It knows no test and no expected value."""

import sys
import types
from typing import Any

from crossdistill.eval.grading.inside.channel import Channel
from crossdistill.eval.grading.inside.values import decode, encode

_MUTABLE = (list, dict, set, bytearray)


class Candidate:
    """The program's namespace, and its objects that the other side has references to."""

    def __init__(self, prefix: str, source: str) -> None:
        module = types.ModuleType("program")
        sys.modules["program"] = module
        self._names = module.__dict__
        for text in filter(None, (prefix, source)):
            exec(compile(text, "<program>", "exec"), self._names)  # noqa: S102 - what a sandbox is for
        self._objects: list[object] = []

    def names(self) -> list[str]:
        """What the program defines."""
        return [name for name in self._names if isinstance(name, str) and not name.startswith("__")]

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request: a call, or an attribute of an object."""
        if "attribute" in request:
            owner = self._objects[request["of"]]
            return {"value": encode(getattr(owner, request["attribute"]), self._refer)}
        arguments = decode(request["arguments"], self._objects.__getitem__)
        keywords = decode(request["keywords"], self._objects.__getitem__)
        value = encode(self._find(request["call"])(*arguments, **keywords), self._refer)
        changed = [encode(item, self._refer) if isinstance(item, _MUTABLE) else None for item in arguments]
        return {"value": value, "arguments": changed}

    def _find(self, target: str | int) -> Any:
        if isinstance(target, int):
            return self._objects[target]
        solution = self._names.get("Solution")  # the form of LeetCode; before names that were only imported
        if callable(solution) and hasattr(solution, target):
            return getattr(solution(), target)
        return self._names[target]

    def _refer(self, value: object) -> int:
        self._objects.append(value)
        return len(self._objects) - 1


def main() -> None:
    """Run the program, then answer until no one asks."""
    sys.setrecursionlimit(10_000)  # programs of contests count on it
    channel = Channel()
    setup = channel.read()
    try:
        candidate = Candidate(setup["prefix"], setup["source"])
    except BaseException as error:  # noqa: BLE001 - whatever a program raises is its failure
        channel.write(_failure(error))
        return
    channel.write({"names": candidate.names()})
    while True:
        request = channel.read()
        try:
            answer = candidate.answer(request)
        except BaseException as error:  # noqa: BLE001 - as above
            answer = _failure(error)
        channel.write(answer)


def _failure(error: BaseException) -> dict[str, str]:
    return {"error": type(error).__name__, "text": str(error)[:300]}


if __name__ == "__main__":
    main()
