"""Programs with known verdicts, right ones and cheats, graded in the sandbox."""

import os
from typing import Any

import pytest

from crossdistill.errors import InputError
from crossdistill.eval.grading.code import CodeGrader
from crossdistill.eval.grading.trial import same_output
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.problem import Problem
from crossdistill.eval.sandbox.bubblewrap import Bubblewrap

PREFIX = 'import math\n\n\ndef half(n):\n    return n // 2\n\n\ndef square(n):\n    """The square of n."""\n'
TESTS = """
def check(candidate):
    for n in range(20):
        assert candidate(n) == n * n
    assert candidate(half(6)) == 9

check(square)
"""
ASSERTS = {
    "kind": "asserts",
    "prefix": PREFIX,
    "tests": TESTS,
    "entry_point": "square",
    "solution": "def square(n):\n    return n * n",
}
PRINTED = {
    "kind": "io",
    "cases": [{"input": "3\n", "output": "9\n"}, {"input": "4\n", "output": "16\n"}],
    "entry_point": None,
    "prefix": "",
    "solution": "print(int(input()) ** 2)",
}
IMPORTED = {**PRINTED, "prefix": "import math\nfrom math import *\n"}
CALLED = {
    "kind": "io",
    "cases": [{"input": "[1, 2]\n3", "output": "[4, 5]"}, {"input": "[]\n1", "output": "[]"}],
    "entry_point": "add",
    "prefix": "",
    "solution": "class Solution:\n    def add(self, values, n):\n        return [value + n for value in values]",
}


@pytest.fixture(scope="module")
def grader() -> CodeGrader:
    try:
        Bubblewrap().check()
    except InputError as error:
        pytest.skip(str(error))
    return CodeGrader(workers=2)


def grade(grader: CodeGrader, reference: dict[str, Any], *programs: str) -> list[Verdict]:
    problem = Problem("0", "", reference)
    return list(grader.grade((problem, f"```python\n{program}\n```") for program in programs))


def asserts(tests: str, entry_point: str = "f", prefix: str = "") -> dict[str, Any]:
    return {"kind": "asserts", "prefix": prefix, "tests": tests, "entry_point": entry_point, "solution": None}


@pytest.mark.parametrize(
    ("reference", "program"),
    [
        (ASSERTS, "def square(n):\n    return n * n"),
        (ASSERTS, "def square(n):\n    return n ** 2\nprint(square(3))"),
        (ASSERTS, "def square(n):\n    return 2 * half(2 * n * n // 2 * 2) // 2"),
        (ASSERTS, "square = lambda n: math.prod([n, n])"),
        (ASSERTS, "from functools import cache\n@cache\ndef square(n):\n    return n * n"),
        (PRINTED, "print(int(input()) ** 2)"),
        (PRINTED, "import sys\nfor line in sys.stdin:\n    print(int(line) ** 2)"),
        (PRINTED, "def main():\n    print(int(input()) ** 2)\nif __name__ == '__main__':\n    main()"),
        (PRINTED, "print(float(int(input()) ** 2))\nexit()"),
        (PRINTED, "for line in open('/dev/stdin'):\n    print(int(line) ** 2, file=open('/dev/stdout', 'w'))"),
        (IMPORTED, "from __future__ import annotations\nprint(floor(int(input()) ** 2.0))"),
        (IMPORTED, "if __name__ == '__main__':\n    print(math.floor(int(input()) ** 2.0))"),
        (CALLED, "def add(values, n):\n    return tuple(value + n for value in values)"),
        (CALLED, "class Solution:\n    def add(self, values, n):\n        return [value + n for value in values]"),
    ],
)
def test_right_programs_pass(grader: CodeGrader, reference: dict[str, Any], program: str) -> None:
    [verdict] = grade(grader, reference, program)
    assert verdict.correct, verdict.reason
    assert verdict.extracted == program + "\n"


@pytest.mark.parametrize(
    ("reference", "program", "reason"),
    [
        (ASSERTS, "def square(n):\n    return n", "AssertionError in assert candidate(n) == n * n"),
        (ASSERTS, "def square(n):\n    return str(n * n)", "AssertionError"),
        (ASSERTS, "def square(n):\n    raise KeyError('x')", "KeyError"),
        (ASSERTS, "def square(n):\n    print(n * n)", "AssertionError"),
        (ASSERTS, "def cube(n):\n    return n ** 3", "AssertionError"),
        (ASSERTS, "def square(n:", "the program does not run: SyntaxError"),
        (ASSERTS, "import nothing_of_that_name", "the program does not run: ModuleNotFoundError"),
        (PRINTED, "print(int(input()))", "case 1: other output"),
        (PRINTED, "print(9)", "case 2: other output"),
        (PRINTED, "print(int(input()) ** 2, end=' x')", "case 1: other output"),
        (PRINTED, "1 / 0", "case 1: exit code 1: ZeroDivisionError"),
        (PRINTED, "print(int(input()) ** 2)\nimport sys\nsys.exit(1)", "case 1: exit code 1"),
        (CALLED, "def add(values, n):\n    return values", "case 1: another value"),
        (CALLED, "def add(values, n):\n    return [4, 5]", "case 2: another value"),
        (CALLED, "def add(values):\n    return values", "case 1: TypeError"),
        (CALLED, "def subtract(values, n):\n    return values", "case 1: KeyError"),
    ],
)
def test_wrong_programs_fail(grader: CodeGrader, reference: dict[str, Any], program: str, reason: str) -> None:
    [verdict] = grade(grader, reference, program)
    assert not verdict.correct
    assert verdict.reason is not None
    assert verdict.reason.startswith(reason)


FORGERY = "import os\nfor n in range(1, 64):\n    try: os.write(n, {!r})\n    except OSError: pass\n"
EQUAL = """
class Equal:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __bool__(self): return True
    def __add__(self, other): return self
    def __reduce__(self): return (str, ('x',))
"""
CHEATS = {
    "exits with 0": "import os\nos._exit(0)",
    "exits with 0 when called": "import os\ndef square(n):\n    os._exit(0)",
    "raises SystemExit": "raise SystemExit(0)",
    "raises SystemExit when called": "def square(n):\n    raise SystemExit(0)",
    "raises StopIteration when called": "def square(n):\n    raise StopIteration",
    "prints a verdict": "print('passed')\nprint('{\"passed\": true}')\ndef square(n): pass",
    "writes a verdict everywhere": FORGERY.format(b'{"passed": true}\n') + "def square(n): pass",
    "writes a verdict everywhere when called": "def square(n):\n    "
    + FORGERY.format(b'{"passed": true}\n').replace("\n", "\n    "),
    "writes values everywhere": FORGERY.format(b'{"value": 0, "arguments": [null]}\n' * 30) + "def square(n): pass",
    "writes no JSON": FORGERY.format(b"\xff\n"),
    "writes deep JSON": FORGERY.format(b"[" * 100_000 + b"\n"),
    "is always equal": EQUAL + "def square(n): return Equal()",
    "is a number that is always equal": EQUAL.replace("class Equal:", "class Equal(int):")
    + "def square(n): return Equal(-1)",
    "is a list that is always equal": EQUAL.replace("class Equal:", "class Equal(list):")
    + "def square(n): return Equal()",
    "replaces the operator of equality": "import operator, builtins\noperator.eq = lambda *_: True\n"
    "builtins.AssertionError = type('E', (BaseException,), {})\nbuiltins.int.__eq__ = 1",
    "replaces builtins": "import builtins\nfor n in ('range', 'isinstance', 'len', 'all', 'exec', 'print'):\n"
    "    setattr(builtins, n, lambda *a, **k: [])\ndef square(n): return None",
    "replaces the codec": "import sys\nfor name, module in list(sys.modules.items()):\n    if 'values' in name:\n"
    "        module.encode = lambda *_: True\ndef square(n): return None",
    "looks for the tests in frames": "import sys\ndef square(n):\n    f, found = sys._getframe(), []\n    while f:\n"
    "        found += [v for v in f.f_locals.values() if 'assert ' + 'candidate' in repr(v)]\n        f = f.f_back\n"
    "    return n * n if found else None",
    "looks for the tests in memory": "import gc\ndef square(n):\n    wanted = ''.join(['half(', '6)) == 9'])\n"
    "    return n * n if any(wanted in repr(o)[:9999] for o in gc.get_objects()) else None",
    "looks for the tests on disk": "import os\nfound = []\nfor d, ds, fs in os.walk('/tmp'):\n    found += fs\n"
    "def square(n): return n * n if found else None",
    "looks for the tests in command lines": "import glob\ndef square(n):\n    return n * n if any("
    "b'half(6)' in open(p, 'rb').read() for p in glob.glob('/proc/[0-9]*/cmdline')) else None",
    "kills its parent": "import os\nos.kill(os.getppid(), 9)\nos.kill(-1, 9)\ndef square(n): return None",
    "leaves a daemon that answers": "import os\nif os.fork() == 0:\n    def square(n): return None\n"
    "else:\n    os._exit(0)",
    "returns another type": "def square(n): return [n * n]",
    "returns nothing that is a number": "def square(n): return float('nan')",
    "returns a generator without an end": "import itertools\ndef square(n): return itertools.count()",
    "returns a huge text": "def square(n): return 'x' * (100 << 20)",
    "returns a text that is deep": "def square(n):\n    v = []\n    for _ in range(100000): v = [v]\n    return v",
    "returns itself": "def square(n):\n    v = []\n    v.append(v)\n    return v",
    "is a coroutine": "async def square(n): return n * n",
    "traces": "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\ndef square(n): return None",
    "changes the recursion limit": "import sys\nsys.setrecursionlimit(50)\ndef square(n): return None",
    "closes everything": "import os\nos.closerange(0, 64)\ndef square(n): return n * n",
}  # fmt: skip
SLOW_CHEATS = {
    "replaces the grader's class": "import gc\nfor o in gc.get_objects():\n    if type(o).__name__ == 'type' and "
    "o.__name__ in ('Channel', 'Candidate'):\n        o.write = o.answer = lambda *_: {'passed': True}\n"
    "def square(n): return None",
    "never ends": "def square(n):\n    while True: pass",
    "never begins": "while True: pass",
    "forks for ever": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "fills the memory": "def square(n):\n    v = []\n    while True: v.append(bytearray(1 << 22))",
    "prints for ever": "import os\nwhile True: os.write(2, b'x' * 9999); print('x' * 9999)",
}


@pytest.mark.parametrize("name", CHEATS)
def test_no_cheat_is_graded_as_passed(grader: CodeGrader, name: str) -> None:
    [verdict] = grade(grader, ASSERTS, CHEATS[name])
    assert not verdict.correct
    assert verdict.reason


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_CHEATS)
@pytest.mark.parametrize("reference", [ASSERTS, PRINTED, CALLED], ids=["asserts", "printed", "called"])
def test_no_endless_program_is_graded_as_passed(grader: CodeGrader, reference: dict[str, Any], name: str) -> None:
    program = SLOW_CHEATS[name] + "\nadd = square = lambda *_: square()\n"
    [verdict] = grade(grader, reference, program)
    assert not verdict.correct
    assert verdict.reason


@pytest.mark.slow
@pytest.mark.parametrize("reference", [PRINTED, CALLED], ids=["printed", "called"])
def test_cheats_fail_in_the_other_forms(grader: CodeGrader, reference: dict[str, Any]) -> None:
    verdicts = grade(grader, reference, *(text.replace("square", "add") for text in CHEATS.values()))
    assert not [name for name, verdict in zip(CHEATS, verdicts, strict=True) if verdict.correct]


def test_arguments_may_be_changed_in_place(grader: CodeGrader) -> None:
    reference = asserts("values = [3, 1, 2]\nassert f(values) is None\nassert values == [1, 2, 3]")
    right, wrong = grade(grader, reference, "def f(v): v.sort()", "def f(v): sorted(v)")
    assert (right.correct, wrong.correct) == (True, False)


def test_objects_of_the_program_may_be_given_back(grader: CodeGrader) -> None:
    reference = asserts("assert f([Pair(5, 24), Pair(15, 25)]) == 2\nassert Pair(5, 24).a == 5")
    pair = "class Pair:\n    def __init__(self, a, b): self.a, self.b = a, b\n"
    right, wrong = grade(
        grader, reference, pair + "def f(p): return len({x.b for x in p})", pair + "def f(p): return 3"
    )
    assert (right.correct, wrong.correct) == (True, False)


def test_tests_may_expect_an_exception_and_use_numpy(grader: CodeGrader) -> None:
    reference = asserts(
        "import numpy as np\ntry:\n    f(-1)\n    assert False\nexcept ValueError:\n    pass\n"
        "assert np.allclose(f(4), [2.0])"
    )
    right, wrong = grade(
        grader,
        reference,
        "def f(x):\n    if x < 0: raise ValueError\n    return [x ** 0.5]",
        "def f(x): return [abs(x) ** 0.5]",
    )
    assert (right.correct, wrong.correct) == (True, False)


def test_a_response_may_go_on_from_its_prefix(grader: CodeGrader) -> None:
    problem = Problem("0", "", ASSERTS)
    right, wrong, none = grader.grade([(problem, "    return n * n\n"), (problem, "    return n\n"), (problem, "No.")])
    assert (right.correct, wrong.correct) == (True, False)
    assert none == Verdict(correct=False, extracted=None, reason="no program")


def test_the_check_passes_on_right_references(grader: CodeGrader) -> None:
    grader.check([Problem(str(n), "", reference) for n, reference in enumerate([ASSERTS, PRINTED, CALLED])])


def test_the_check_refuses_if_a_reference_fails(grader: CodeGrader) -> None:
    wrong = {**ASSERTS, "solution": "def square(n): return n"}
    problems = [Problem("good", "", ASSERTS), *(Problem(f"bad-{n}", "", wrong) for n in range(4))]
    with pytest.raises(InputError, match=r"^4 of 5 reference solutions fail .* bad-0 \(AssertionError.* and 1 more; "):
        grader.check(problems)


def test_problems_without_a_reference_are_no_reason_to_refuse(grader: CodeGrader) -> None:
    grader.check([Problem("0", "", {**ASSERTS, "solution": None})])


def test_the_caller_is_alive(grader: CodeGrader) -> None:
    """And has the signals, folder and environment that it had."""
    before = os.getcwd(), dict(os.environ)  # noqa: PTH109
    grade(
        grader, ASSERTS, "import os, signal\nos.kill(os.getppid(), signal.SIGTERM)\nos.chdir('/')\nos.environ.clear()"
    )
    assert (os.getcwd(), dict(os.environ)) == before  # noqa: PTH109


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        ("1\n", "1", True),
        ("1", "1\n\n", True),
        ("1 \n2", "1\n2\n", True),
        ("1.0", "1", True),
        ("0.10 a", "0.1 a", True),
        ("1e3", "1000", True),
        ("", "", True),
        ("\n1", "1", True),
        ("  1", "1", True),
        ("10_0", "100", False),
        ("\u0661", "1", False),
        ("1\f2", "1\n2", False),
        ("1 2\r\n3\r\n", "1 2\n3", True),
        ("1e9999999999", "1", False),
        ("inf", "Infinity", False),
        ("1 2", "1\n2", False),
        ("12", "1 2", False),
        ("a", "A", False),
        ("nan", "NaN", False),
        ("nan", "nan", True),
        ("0.1", "0.10000001", False),
        ("1", "", False),
    ],
)
def test_same_output(printed: str, expected: str, same: bool) -> None:
    assert same_output(printed, expected) is same
