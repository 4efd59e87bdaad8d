"""Write the tables of docs/refusals.md from the findings' own sentences.

python tools/finding_tables.py
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import crossdistill
from crossdistill.findings import KINDS, Kind, Severity

ROOT = Path(__file__).parents[1]
PAGE = Path("docs/refusals.md")
_PLACEHOLDER = re.compile(r"\{(\w+)[^}]*\}")


class PageError(Exception):
    """The page has no place for a table."""


def kinds() -> list[Kind]:
    """All kinds of findings, by when they are found and by name."""
    for module in sorted(Path(crossdistill.__path__[0]).rglob("*.py")):
        if "Kind(" in module.read_text():  # others may belong to an engine that is not installed
            importlib.import_module(".".join(module.relative_to(ROOT).with_suffix("").parts))
    order = {when: number for number, when in enumerate(type(next(iter(KINDS.values())).when))}
    return sorted(KINDS.values(), key=lambda kind: (order[kind.when], kind.name))


def table(severity: Severity) -> str:
    """The kinds of one severity as a Markdown table."""
    rows = ["| kind | what a run says | otherwise | found |", "|---|---|---|---|"]
    rows += [
        f"| `{kind.name}` | {_shown(kind.sentence)} | {_shown(kind.harm)} | {kind.when} |"
        for kind in kinds()
        if kind.severity is severity
    ]
    return "\n".join(rows)


def updated(page: str) -> str:
    """The text of docs/refusals.md with its tables written anew."""
    for severity in Severity:
        begin, end = f"<!-- {severity}: written by tools/finding_tables.py -->\n\n", f"\n\n<!-- end of {severity} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise PageError(f"{PAGE} has no place for the table {severity.value!r}")
        page = before + begin + table(severity) + end + after
    return page


def _shown(sentence: str) -> str:
    """A sentence in a cell of Markdown: placeholders in italics, nothing else taken for markup."""
    text = sentence.replace("{{", "\ue000").replace("}}", "\ue001")
    parts = _PLACEHOLDER.split(text)
    escaped = [re.sub(r"([|*_<>`\[\]])", r"\\\1", part) for part in parts[::2]]
    names = [f"*{name.replace('_', ' ')}*" for name in parts[1::2]]
    cell = escaped[0] + "".join(name + text for name, text in zip(names, escaped[1:], strict=True))
    return cell.replace("\ue000", "{").replace("\ue001", "}")


def main() -> None:
    """Write the tables."""
    path = ROOT / PAGE
    path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
