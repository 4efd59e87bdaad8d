"""What the documentation shows: code blocks, files and command lines."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:^ {4}\S.*\n(?: {4}.*\n)*)+", flags=re.MULTILINE)
_INLINE = re.compile(r"`(crossdistill [^`]+)`")
_NAMED = re.compile(r"`([\w.-]+\.(?:toml|jsonl|py))`[^`]*:\s*$")


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a language in a page of the repository, in order."""
    return [shown.text for shown in walk(page) if shown.language == language]


@dataclass(frozen=True)
class Shown:
    """A part of a page that a reader runs or saves.

    Attributes:
        language: of a code block; ``command`` for a command line.
        text: of the block or line.
        file: in which the page says to save it; empty if it does not.
    """

    language: str
    text: str
    file: str = ""

    @property
    def arguments(self) -> list[str]:
        """What stands after ``crossdistill`` in a command line; of a synopsis as if everything were given."""
        words = shlex.split(self.text, comments=True)
        start = words.index("crossdistill")
        return [word.strip("[]") for word in words[start + 1 :]]


def walk(page: str) -> list[Shown]:
    """The blocks and command lines of a page of the repository, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found: list[tuple[int, Shown]] = []
    for match in _FENCED.finditer(text):
        name = _NAMED.search(text[: match.start()])
        found.append((match.start(), Shown(match[1], match[2], name[1] if name else "")))
    without_fences = _FENCED.sub(lambda match: re.sub(r"[^\n]", "x", match[0]), text)
    for match in _INDENTED.finditer(without_fences):
        found += [(match.start() + number, shown) for number, shown in enumerate(_commands(match[0]))]
    return [shown for _, shown in sorted(found, key=lambda pair: pair[0])]


def _commands(block: str) -> Iterator[Shown]:
    """The command lines of ours in an indented block; a line that ends in a backslash goes on in the next."""
    for line in re.sub(r"\\\n\s*", "", block).splitlines():
        if re.match(r"(\w+=\S+ )*(crossdistill|accelerate launch .*-m crossdistill) ", line.strip()):
            yield Shown("command", line.strip())


def mentions(page: str) -> list[str]:
    """The command lines within the text of a page, which may be incomplete."""
    text = _FENCED.sub("", (ROOT / page).read_text(encoding="utf-8"))
    return [" ".join(match.split()) for match in _INLINE.findall(text)]
