"""Write the two tables of docs/objectives.md from the pages in docs/math.

    python tools/objective_tables.py

Each page begins with a table "at a glance". Its rows "signal" and "given text" are facts about the objective and are
checked against it; the others are prose. The order of the objectives is that of the pages in mkdocs.yml.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from crossdistill.objectives import Objective, available, get

ROOT = Path(__file__).parents[1]
PAGE = Path("docs/objectives.md")
COMPARISON = ("signal", "compares", "exact", "given text", "when to use")
COST = ("cost",)
SIGNALS = {"sampled": "sampled", "topk": "top k", "dense": "dense"}
"""Value of a signal -> its name on the pages."""


class PageError(Exception):
    """A page lacks a row, or contradicts its objective."""


def glance(page: str) -> dict[str, str]:
    """The rows of a page's table "at a glance"."""
    table = re.search(r"^\| at a glance \| \|\n\|---\|---\|\n((?:\|.*\|\n)+)", page, flags=re.MULTILINE)
    if table is None:
        raise PageError('there is no table "at a glance"')
    rows = dict(re.findall(r"^\| ([\w ]+?) \| (.*) \|$", table[1], flags=re.MULTILINE))
    missing = {*COMPARISON, *COST} - rows.keys()
    if missing:
        raise PageError(f'the table "at a glance" lacks {", ".join(sorted(missing))}')
    return rows


def check_facts(name: str, rows: dict[str, str]) -> None:
    """Check a page's facts against the objective of that name.

    Raises:
        PageError: the objective contradicts them.
    """
    own, *others = [clause.partition(" with ") for clause in rows["signal"].split("; ")]
    if own[1] or own[0] != _signal_of(get(name)):
        raise PageError(f"by default the signal of {name} is {_signal_of(get(name))}, not {rows['signal']!r}")
    for signal, _, options in others:
        found = _signal_of(get(name, **_options(options)))
        if signal != found:
            raise PageError(f"with {options} the signal of {name} is {found}, not {signal!r}")
    given_text = "no" if get(name).on_policy_only else "yes"
    if rows["given text"] != given_text:
        raise PageError(f"whether {name} holds on given text: {given_text}, not {rows['given text']!r}")


def _signal_of(objective: Objective) -> str:
    return SIGNALS[objective.signal.value]


def _options(text: str) -> dict[str, Any]:
    """Options as a run file writes them, by commas: ``credit = "marginal", top_k = 64`` in backticks."""
    return tomllib.loads("\n".join(text.strip("`").split(", ")))


def tables(root: Path = ROOT) -> tuple[str, str]:
    """Both tables, from all pages below `root`.

    Raises:
        PageError: a page is missing, has no objective, or contradicts it.
    """
    names = re.findall(r"math/(\w+)\.md", (root / "mkdocs.yml").read_text(encoding="utf-8"))
    if sorted(names) != sorted(available()):
        raise PageError(f"the pages in mkdocs.yml and the objectives differ: {sorted({*names} ^ {*available()})}")
    comparison, cost = _head("objective", *COMPARISON), _head("objective", "cost of the loss")
    for name in names:
        rows = glance((root / f"docs/math/{name}.md").read_text(encoding="utf-8"))
        check_facts(name, rows)
        comparison.append(_row(f"[{name}](math/{name}.md)", *(rows[key] for key in COMPARISON)))
        cost.append(_row(name, *(rows[key] for key in COST)))
    return "\n".join(comparison), "\n".join(cost)


def _head(*cells: str) -> list[str]:
    return [_row(*cells), "|" + "---|" * len(cells)]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def updated(page: str, root: Path = ROOT) -> str:
    """The text of docs/objectives.md with its two tables written anew."""
    new = dict(zip(("comparison", "cost"), tables(root), strict=True))
    for name, table in new.items():
        begin, end = f"<!-- {name}: written by tools/objective_tables.py -->\n\n", f"\n\n<!-- end of {name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise PageError(f"{PAGE} has no place for the table {name!r}")
        page = before + begin + table + end + after
    return page


def main() -> None:
    """Write the tables."""
    path = ROOT / PAGE
    path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
