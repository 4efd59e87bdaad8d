"""LiveCodeBench's tests: the public ones are JSON, the hidden ones base64 of zlib of a pickled text, which is JSON.

A pickle is a program, so none is run here: its instructions are listed, and it is refused unless all that it does is to
name one text.
"""

import base64
import binascii
import json
import pickletools
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, overload

from crossdistill.errors import InputError
from crossdistill.eval.row import Row

MAX_BYTES = 2**29
"""Most bytes of the tests of one problem, unpacked."""

_MAX_INSTRUCTIONS = 100  # a text takes five
_TEXT = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"}
_HARMLESS = {"PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT", "STOP"}


class ContestTests(Sequence[dict[str, str]]):
    """The tests of one problem as cases of ``input`` and ``output``, the public ones first.

    They are unpacked anew each time that they are read, because those of a whole release fill more memory than most
    machines have.

    Args:
        row: with ``public_test_cases`` and ``private_test_cases``.
    """

    def __init__(self, row: Row) -> None:
        self._row = row

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @overload
    def __getitem__(self, index: int) -> dict[str, str]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, str]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, str] | list[dict[str, str]]:
        return list(self)[index]

    def __iter__(self) -> Iterator[dict[str, str]]:
        for test in self._tests():
            yield {"input": test["input"], "output": test["output"]}

    @property
    def is_functional(self) -> bool:
        """Whether a function is called, and not a program given standard input.

        Raises:
            InputError: there are no tests, or they cannot be read.
        """
        first = next(self._tests(), None)
        if first is None:
            raise InputError(f"{self._row.where} has no tests: leave it out.")
        return first.get("testtype") == "functional"

    def _tests(self) -> Iterator[dict[str, Any]]:
        for column in ("public_test_cases", "private_test_cases"):
            text = self._row.text(column)
            try:
                tests = unpacked_tests(text)
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"{self._row.where} has {column!r} that cannot be read ({error}): restore it."
                ) from None
            if not isinstance(tests, list) or not all(map(_is_test, tests)):
                raise InputError(
                    f"{self._row.where} has {column!r} that are no list of inputs and outputs: restore it."
                )
            yield from tests


def _is_test(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("input", "output"))


def unpacked_tests(packed: str, max_bytes: int = MAX_BYTES) -> Any:
    """The hidden tests of a problem, as JSON data.

    Args:
        packed: ``private_test_cases`` of a row; plain JSON, as in some copies, is read, too.
        max_bytes: most bytes of the unpacked tests.

    Raises:
        ValueError: they are not of this form, are too large, or the pickle does anything but name a text.

    Example:
        >>> unpacked_tests('[{"input": "2 2", "output": "4", "testtype": "stdin"}]')[0]["output"]
        '4'
    """
    if packed.lstrip().startswith("["):
        return json.loads(packed)
    try:
        compressed = base64.b64decode(packed, validate=True)
    except binascii.Error as error:
        raise ValueError(f"they are neither JSON nor base64: {error}") from None
    return json.loads(pickled_text(_decompressed(compressed, max_bytes)))


def _decompressed(data: bytes, max_bytes: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data, max_bytes)
        if stream.decompress(stream.unconsumed_tail, 1):
            raise ValueError(f"they are larger than {max_bytes} bytes")
    except zlib.error as error:
        raise ValueError(f"they are not compressed by zlib: {error}") from None
    if not stream.eof:
        raise ValueError("they are cut off")
    return plain


def pickled_text(data: bytes) -> str:
    """The text of a pickle that holds nothing else; nothing is unpickled.

    Raises:
        ValueError: the pickle does anything but name one text.

    Example:
        >>> import pickle
        >>> pickled_text(pickle.dumps("a text"))
        'a text'
    """
    texts: list[str] = []
    for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if number >= _MAX_INSTRUCTIONS:
            raise ValueError("their pickle is longer than that of a text")
        if opcode.name in _TEXT and isinstance(argument, str):
            texts.append(argument)
        elif opcode.name not in _HARMLESS:
            raise ValueError(f"their pickle does more than name a text ({opcode.name})")
    if len(texts) != 1:
        raise ValueError(f"their pickle has {len(texts)} texts instead of one")
    return texts[0]
