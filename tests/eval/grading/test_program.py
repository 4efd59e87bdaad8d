"""The program of a response."""

import pytest

from crossdistill.eval.grading.program import find_program

F, G = "def f():\n    return 1\n", "def g():\n    return 2\n"


@pytest.mark.parametrize(
    ("response", "program"),
    [
        (f"```python\n{F}```", F),
        (f"Here:\n```python\n{F}```\nDone.", F),
        (f"```py\n{F}```", F),
        (f"```Python\n{F}```", F),
        (f"```python3\n{F}```", F),
        (f"```python title=x\n{F}```", F),
        (f"~~~python\n{F}~~~", F),
        (f"````python\n{F}````", F),
        (f"```\n{F}```", F),
        (f"```python\n{G}```\nBetter:\n```python\n{F}```", F),
        (f"```python\n{F}```\nIt prints\n```\n1\n```", F),
        (f"```python\n{F}```\nIn C:\n```c\nint f();\n```", F),
        (f"```python\n{F}```\nUse it:\n```python\nprint(f())\n```", F),
        (f"```bash\nls\n```\n```python\n{F}```", F),
        (f"```python\n{F}", F),
        (f"```python\n{F}def h(", F + "def h("),
        (F, F),
        ("    return 1", "def f():\n    return 1"),
        ("```bash\nls\n```", None),
        ("I cannot do that.", None),
        ("", None),
        ("   \n", None),
        ("def f(:", None),
        ("\0", None),
    ],
)
def test_programs(response: str, program: str | None) -> None:
    assert find_program(response, prefix="def f():\n", entry_point="f") == program


def test_the_last_block_counts_if_no_function_is_wanted() -> None:
    assert find_program("```python\nprint(1)\n```\n```python\nprint(2)\n```") == "print(2)\n"
