"""Runs the tests of a problem. Each call of a function of the response's program is made in the other sandbox."""

import ast
import builtins
from typing import Any

from crossdistill.eval.grading.inside.channel import Channel
from crossdistill.eval.grading.inside.values import decode, encode


class Remote:
    """A function or object of the program. It compares equal to itself alone."""

    def __init__(self, channel: Channel, target: str | int) -> None:
        self._channel, self._target = channel, target

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        request = {
            "call": self._target,
            "arguments": encode(list(arguments), _number),
            "keywords": encode(keywords, _number),
        }
        answer = self._ask(request)
        for argument, changed in zip(arguments, answer["arguments"], strict=True):
            if changed is not None:
                _become(argument, decode(changed, self._resolve))
        return decode(answer["value"], self._resolve)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or isinstance(self._target, str):
            raise AttributeError(name)
        return decode(self._ask({"attribute": name, "of": self._target})["value"], self._resolve)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._channel.write(request)
        answer = self._channel.read()
        if "error" in answer:
            raise _exception(str(answer["error"]))(str(answer["text"]))
        assert isinstance(answer, dict)
        return answer

    def _resolve(self, number: int) -> "Remote":
        return Remote(self._channel, int(number))


def _number(value: object) -> int:
    if isinstance(value, Remote) and isinstance(value._target, int):
        return value._target
    raise TypeError(f"a {type(value).__name__} cannot be given to the program")


def _become(argument: Any, changed: Any) -> None:
    """Let a program change its arguments in place."""
    if type(argument) is not type(changed) or argument == changed:
        return
    if isinstance(argument, list | bytearray):
        argument[:] = changed
    else:
        argument.clear()
        argument.update(changed)


def _exception(name: str) -> type[Exception]:
    """The built-in exception of that name, because tests may expect one; a program cannot make the judge exit."""
    kind = getattr(builtins, name, None)
    is_exception = isinstance(kind, type) and issubclass(kind, Exception)
    return kind if is_exception and not issubclass(kind, UnicodeError) else RuntimeError  # type: ignore[arg-type,return-value]


def run_tests(channel: Channel, setup: dict[str, Any]) -> None:
    """Run the tests; what they raise is raised."""
    namespace: dict[str, Any] = {"__name__": "tests"}
    if setup["prefix"]:
        exec(compile(setup["prefix"], "<prefix>", "exec"), namespace)  # noqa: S102 - what a sandbox is for
    wanted = {node.id for node in ast.walk(ast.parse(setup["tests"])) if isinstance(node, ast.Name)}
    missing = (wanted & set(setup["names"])) - namespace.keys() - set(dir(builtins))
    for name in {*missing, setup["entry_point"]}:
        namespace[name] = Remote(channel, name)
    exec(compile(setup["tests"], "<tests>", "exec"), namespace)  # noqa: S102 - as above


def main() -> None:
    """Run the tests and write the verdict."""
    channel = Channel()
    setup = channel.read()
    try:
        run_tests(channel, setup)
    except BaseException as error:  # noqa: BLE001 - whatever a test raises, it did not pass
        channel.write({"passed": False, "reason": _describe(error, setup["tests"])})
    else:
        channel.write({"passed": True})


def _describe(error: BaseException, tests: str) -> str:
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<tests>":
            line = tests.splitlines()[trace.tb_lineno - 1].strip()
        trace = trace.tb_next
    text = ": ".join(filter(None, [type(error).__name__, str(error)[:200]]))
    return text if line is None else f"{text} in {line[:200]}"


if __name__ == "__main__":
    main()
