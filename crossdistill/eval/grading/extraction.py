"""The answer that a response gives, as text."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from crossdistill.eval.grading.notation import CHANGES_NUMBER, SAYS_MORE

_TOKEN = re.compile(
    r"""(?P<box>\\(?:boxed|fbox)(?![A-Za-z])\s*\{)
      | \\(?:boxed|fbox)(?![A-Za-z])[ \t]*(?P<bare>[^\s{}$\\]+)
      | \\.
      | (?P<open>\{)
      | (?P<close>\})""",
    re.VERBOSE | re.DOTALL,
)
_HEADING = re.compile(r"[*_]*[^\W\d_]{2}")
_HASHES = re.compile(r"####[ \t]*(\S[^\n]*)")
_SAID = re.compile(
    rf"""\banswer(?:[ ]to[ ](?:this|the)[ ](?:problem|question))?[\s*_]{{0,4}}(?:is\b|:|=)[\s*_:]{{0,8}}
        (?:\$(?P<dollars>[^$\n]{{1,200}})\$
         | \\\((?P<round>[^\n]{{1,200}}?)\\\)
         | (?P<number>[-−]?\$?\d+(?:,\d{{3}})*(?:\.\d+)?(?:/\d+)?%?)(?![\w^$?]|[.,]?[ ]?\d|:\d))
        (?![ ]*(?:[-–+*/=×÷x][ ]*[\d(\\]|-\w|√|\\(?![)\]%,;]|text)|(?:{CHANGES_NUMBER})\b))
        (?!,[ ](?:and|or)\b|(?:(?!\b(?:because|since|as)\b)[^.,;:\n]){{0,200}}?\b(?:{SAYS_MORE})\b)""",
    re.VERBOSE | re.IGNORECASE,
)
"""An answer in a sentence: a formula, or a number that is not the first of several or of a calculation."""


def boxes(text: str) -> Iterator[tuple[int, str]]:
    r"""The contents of the closed boxes of a text that are not empty, each with the place at which it ends.

    Boxes are ``\boxed{...}``, ``\fbox{...}`` and TeX's form without braces, ``\boxed 5``. Of boxes in a box the inner
    ones come first.
    """
    opened: list[tuple[bool, int]] = []  # whether it is a box, where its content begins
    for token in _TOKEN.finditer(text):
        if token["bare"]:
            yield token.end(), token["bare"].rstrip(".,;:")
        elif token["box"] or token["open"]:
            opened.append((bool(token["box"]), token.end()))
        elif token["close"] and opened:
            is_box, begin = opened.pop()
            content = text[begin : token.start()].strip()
            if is_box and content:
                yield token.end(), content


def last_answer(text: str) -> str | None:
    """The last answer in a box or after ``####``, whichever comes later; else the last after "the answer is".

    Returns:
        Its text; None if there is none.

    Example:
        >>> last_answer("So x = 4. #### 4"), last_answer("The answer is 4."), last_answer("It is 4.")
        ('4', '4', None)
    """
    *_, boxed = ((-1, None), *boxes(text))
    hashes = ((match.end(1), match[1].strip()) for match in _HASHES.finditer(text))
    # if there is a box, "#### Check" is a heading of Markdown
    *_, after = ((-1, None), *(found for found in hashes if boxed[1] is None or not _HEADING.match(found[1])))
    if boxed[0] >= 0 and boxed[0] > after[0] - len(after[1] or ""):  # a box on the line of #### is the same answer
        return boxed[1]
    return after[1] or _last_said(text)


def _last_said(text: str) -> str | None:
    *_, last = (None, *_SAID.finditer(text))
    return last and last[last.lastgroup or 0].strip()


def last_letter(text: str, letters: Sequence[str]) -> str | None:
    """The letter of the choice that a response ends on; None if it names none.

    A box and phrases such as "Answer: C" or "the answer is C" count before letters that merely stand alone: "(C)",
    "**C**" or a line of nothing else. Of each kind the last one counts. A letter that is a word ("A good idea") or
    one of several ("A or B") is no choice.

    Args:
        text: the response.
        letters: those to choose from, in upper case.

    Example:
        >>> last_letter("The answer is (C).", "ABCD"), last_letter("A good question.", "ABCD")
        ('C', None)
    """
    said, alone, several = _letter_patterns("".join(letters))
    text = several.sub(" ", text)
    found = [(match.end(), match["letter"]) for match in said.finditer(text)]
    found += [(end, letter) for end, content in boxes(text) if (letter := _letter_of(content, letters))]
    if not found:
        found = [(match.end(), match["letter"]) for match in alone.finditer(text)]
    return max(found)[1] if found else None


_MARKS = r"[\s*:_`$(\[{\"']"  # repeated a few times at most: a model may write a hundred thousand of them
_ARTICLE = r"(?!(?<=[AI])\s+(?!because\b|since\b|as\b|is\b|by\b|with\b|which\b|due\b|for\b)[a-z])"

_RULED_OUT = (
    r"(?![)\]}*_\"'.,]{0,4}\s+(?:(?:is|was|seems|looks)\s+(?:clearly\s+|also\s+)?(?:not|wrong|incorrect|false|invalid|ruled|"
    r"eliminated|out)|isn['’]t|cannot|can['’]t|does\s+not|doesn['’]t|fails)\b)"
)


@lru_cache
def _letter_patterns(letters: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    choice = rf"(?P<letter>[{letters}])(?![\w'’]|-\w){_ARTICLE}"
    command = r"(?:\\(?:text|mathrm|mathbf|textbf)[ \t]{0,2}\{)?"
    noun = r"(?i:answer|choice|option)"
    link = rf"{_MARKS}{{0,8}}(?:(?i:is|(?:would|must|should)\ be)\b)?(?:\ (?i:(?:most\ )?likely|probably|clearly)\b)?"
    link += rf"{_MARKS}{{0,8}}(?i:(?:option|choice)\b)?"
    said = rf"\b{noun}(?=[\s:*]){link}{_MARKS}{{0,8}}{command}{_MARKS}{{0,4}}{choice}{_RULED_OUT}"
    places = (
        rf"\((?=[{letters}]\))",
        rf"\*\*\(?(?=[{letters}][.):]?\)?\*\*)",
        rf"^[ \t]{{0,8}}(?=[{letters}][.)]?[ \t]{{0,8}}$)",
    )
    alone = rf"(?:{'|'.join(places)}){choice}"
    one = rf"[*_`(\[]{{0,4}}(?<!\w)[{letters}]\b[*_`)\]]{{0,4}}"
    several = rf"{one}(?:\s{{0,4}}(?:,|/|&|\bor\b|\band\b)\s{{0,4}}{one})+"
    return re.compile(said), re.compile(alone, re.MULTILINE), re.compile(several)


def _letter_of(content: str, letters: Sequence[str]) -> str | None:
    """The letter that a box holds, alone or before the choice's text."""
    inside = re.sub(r"(?:\\(?:text|textbf|mathrm|mathbf|mathit)|[{}$*\s])+", " ", content).strip()
    letter = rf"[{''.join(letters)}]"
    text = rf"[.:)\]]{{1,2}}(?!\W*{letter}\W*$).*|[)\]\s]*"
    match = re.match(rf"[(\[\s]*({letter})\s*(?:{text})$", inside, re.DOTALL)
    return match[1] if match else None
