"""What is wrong with sorted lists: how many responses have the right words, and how many of these in order.

python -m benchmarks.arena.sorting_errors runs/arena-real-cells
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SEPARATOR = ", "


def shares(rows: Iterable[Mapping[str, Any]]) -> tuple[float, float]:
    """The share of responses with the right words, and of these the share that has them in order; 0 of none.

    Args:
        rows: of a file of samples, with ``problem``, ``response`` and ``correct``.

    Example:
        >>> rows = [
        ...     {"problem": "roam, crab", "response": "crab, roam", "correct": True},
        ...     {"problem": "roam, crab", "response": "roam, crab", "correct": False},
        ...     {"problem": "roam, crab", "response": "crab, raom", "correct": False},
        ...     {"problem": "roam, crab", "response": "crab", "correct": False},
        ... ]
        >>> shares(rows)
        (0.5, 0.5)
    """
    are_right = [(_words(row["response"]) == _words(row["problem"]), row["correct"]) for row in rows]
    ordered = [is_ordered for has_words, is_ordered in are_right if has_words]
    return len(ordered) / max(1, len(are_right)), sum(ordered) / max(1, len(ordered))


def _words(listed: str) -> list[str]:
    return sorted(listed.strip().split(SEPARATOR))


def main(arena: Path) -> None:
    for file in sorted(arena.glob("cells/*/*/*/answers/samples/test.jsonl")):
        words, order = shares([json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()])
        print(f"{'/'.join(file.parts[-6:-3])}: {words:.1%} have the right words, {order:.1%} of these in order")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
