"""Mathematical answers as text: one way of writing each, and those that need no algebra to compare."""

import re
from dataclasses import dataclass
from fractions import Fraction

_DEGREE = r"\^\s*(?:\\circ\b|\{\s*\\circ\s*\})|\\degree\b|°"
# what changes how an answer looks and not what it is
_LOOKS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:left|right|[Bb]igg?[lr]?|displaystyle|textstyle)(?![A-Za-z])", ""),
        (r"(?<!\\)\\[!,;:]", ""),
        (r"(?<!\\)\\(?: |quad\b|qquad\b)|~", " "),
        (r"\{,\}", ","),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:mathbf|mathrm|mathit|boldsymbol|bm|textbf|textit|mbox|textrm)(?![A-Za-z])", r"\\text"),
        (rf"(?:{_DEGREE})\s*(?:[CF]\b(?!\s*=))?", ""),
        (r"\\\$|[$£€]", ""),
        (r"[−–]", "-"),
        (r"π", r"\\pi "),
        (r"∞", r"\\infty "),
        (r"√\s*(\d+)", r"\\sqrt{\1}"),
        (r"\\varnothing(?![A-Za-z])|∅", r"\\emptyset"),
        (r"[\u200b\ufeff]", ""),
        (r"\\%|\s*\\text\s*\{\s*percent\s*\}|(?<=\d)\s+percent\b", "%"),
        (r"(?<!\\)\\[()\[\]]", ""),
    )
)
_WRAPPED = re.compile(r"\\(?:boxed|fbox|text)\s*\{([^{}]*)\}|\\(?:boxed|fbox)\s*\{(.*)\}|\*\*([^*]*)\*\*", re.DOTALL)
_NAME = re.compile(r"\A[A-Za-z](?:_\{?\w+\}?)?\s*=\s*(?=[^=<>]+\Z)")
_NAME_AFTER = re.compile(r"\s*=\s*[A-Za-z]\Z")
CHANGES_NUMBER = (
    r"to|mod|modulo|base|times\s+[a-z]\b(?<!\ba)|over|squared|cubed|factorial|dozen|tens|half|halves|thirds?|fourths"
    r"|fifths|sixths|sevenths|eighths|ninths|tenths|hundredths|thousandths|hundred|thousand|million|billion|trillion"
)
"""Words that make another number of the one right before them, as a pattern."""
SAYS_MORE = r"and|or|if|not|wrong|plus|minus|pi|sqrt|[befiknqruvwxyz]"
"""Words that anywhere after a number say more than its unit, as a pattern."""
_NO_UNIT_WORDS = rf"(?:(?:{CHANGES_NUMBER})\b|(?:[^{{}}]*?\s)??(?:{SAYS_MORE})\b|(?i:[ap]\.?m\b))"
_NO_UNIT = rf"(?!{_NO_UNIT_WORDS})"
_POWER = r"(?:\s*\^\s*\{?[23]\}?)?"
_UNIT_AS_TEXT = re.compile(rf"(?<=\S)\s*\\text\s*\{{\s*{_NO_UNIT}[A-Za-z][^{{}}\d]*\}}{_POWER}\s*\Z")
_UNIT_AS_WORDS = re.compile(rf"(?<=[\d%}}])\s+{_NO_UNIT}[A-Za-z][A-Za-z./ ]+{_POWER}\s*\Z")
_DEGREES = re.compile(r"(?<=\d)\s*degrees?\Z")

_SHORT_UNITS = {
    *("cm", "mm", "km", "dm", "nm", "ft", "in", "yd", "mi", "kg", "mg", "lb", "oz", "hr", "ms", "ml", "mL", "cl", "dl"),
    *("cc", "sq", "cu", "ha", "pt", "qt", "Hz", "kW", "mA", "eV", "Pa", "kB", "MB", "GB", "TB", "th", "st", "nd", "rd"),
}
_PRODUCT = re.compile(r"[+-]?[\d.,]+\s*([A-Za-z]{2})(?:\s*\^\s*\{?\d+\}?)?")
_NO_NUMBER = re.compile(
    r"[<>≤≥≠]|\\(?:neq?|l[et]|g[et]|[lg]eq(?:slant)?|to|mapsto|rightarrow|mid|sim|pm|mp|[lc]?dots)(?![A-Za-z])"
    rf"|(?<![\d_^])\d+\s+(?!\d{{3}}(?!\d))\d|\\text\s*\{{\s*{_NO_UNIT_WORDS}"
)
"""What is in no expression for one number: a relation, an enumeration, two numbers side by side, words about it."""

_DIGITS = r"\d{1,1000}"
_DECIMAL = re.compile(rf"([+-]?)\s*((?:\d{{1,3}}(?:[, ]\d{{3}})+|{_DIGITS})(?:\.\d{{0,1000}})?|\.{_DIGITS})\s*(%?)")
_FRACTION = re.compile(
    rf"([+-]?)\s*({_DIGITS})??\s*\\frac\s*(?:\{{\s*([+-]?{_DIGITS})\s*\}}|(\d))\s*(?:\{{\s*({_DIGITS})\s*\}}|(\d))"
)
_REPEATING = re.compile(r"([+-]?)\s*(\d{0,1000})\.(\d{0,1000})\\(?:overline|bar)\s*\{(\d{1,1000})\}")
_SLASH = re.compile(rf"([+-]?)\s*(?:({_DIGITS})\s+)?({_DIGITS})\s*/\s*({_DIGITS})")

_SCALED = re.compile(r"(.*\d)\s*(?:\\text\s*\{\s*)?(thousand|million|billion)\b[A-Za-z ]*\}?")
_ZEROS = {"thousand": 3, "million": 6, "billion": 9}

_IN_BASE = re.compile(r"([0-9A-Fa-f]+)(?:_\{?(\d+)\}?)?")
_CLOCK = re.compile(r"\d+(?::\d+)+")
_TIME_OF_DAY = re.compile(r"\d\s*(?:\\text\s*\{\s*)?[ap]\.?\s?m\b", re.IGNORECASE)
_WORDS = re.compile(r"[^\W\d_](?:[^\W\d_]|[ '’.,-])+")
_LETTER = re.compile(r"\(?([A-Z])\)?")
_FUNCTIONS = {"sin", "cos", "tan", "log", "exp", "sqrt", "inf", "infinity"}
_PLACES = 6
"""Decimals that are enough for a fraction whose decimals never end; math-verify rounds numbers to as many."""


@dataclass(frozen=True)
class Number:
    """A number as it is written.

    Attributes:
        value: of the digits, without the percent sign.
        percent: whether there is such a sign.
        places: decimals after the point; None for a fraction.
    """

    value: Fraction
    percent: bool = False
    places: int | None = None


def plain(text: str) -> str:
    """An answer without what only changes its looks: spacing, fonts, money, degrees, units, the name of a variable.

    Example:
        >>> plain("n = 1{,}040 cm."), plain("$336^\\\\circ$")
        ('1,040', '336')
    """
    text = _with_plain_looks(text)
    while (wrapped := _WRAPPED.fullmatch(text)) is not None:
        text = (wrapped[1] or wrapped[2] or wrapped[3] or "").strip()
    text = _NAME.sub("", text)
    before, _ = _parted(_NAME_AFTER, text)
    text = before if read_number(before) is not None else text
    for unit in (_UNIT_AS_TEXT, _DEGREES):
        text = unit.sub("", text)
    number, _ = _parted(_UNIT_AS_WORDS, text)
    has_unit = read_number(number.strip()) is not None and not _is_product(text.strip())
    return number.strip() if has_unit else text.strip()


def same(gold: str, answer: str) -> bool | None:
    """Whether two answers are the same, if that can be said without algebra; else None.

    Example:
        >>> same("1/2", "0.5"), same("12", "13"), same("x^2", "x*x")
        (True, False, None)
    """
    ours, theirs = plain(gold), plain(answer)
    if ours and _compact(ours) == _compact(theirs):
        return True
    numbers = read_number(ours), read_number(theirs)
    if numbers[0] is not None and numbers[1] is not None:
        return _same_numbers(numbers[0], numbers[1])
    if (numbers[0] is not None and _is_no_number(answer, theirs)) or (numbers[1] is not None and _is_product(ours)):
        return False
    for pattern, compare in ((_IN_BASE, _same_digits), (_LETTER, _same_groups)):
        matches = pattern.fullmatch(ours), pattern.fullmatch(theirs)
        if matches[0] is not None and matches[1] is not None and _says_more(pattern, ours, theirs):
            return compare(matches[0], matches[1])
    if _CLOCK.fullmatch(ours) or _TIME_OF_DAY.search(ours) or _is_words(gold, ours):
        return _letters(ours) == _letters(theirs)
    return None


def read_number(text: str) -> Number | None:
    """A number written in digits: decimal, with separators of thousands, as a fraction, mixed, in percent, in millions.

    Example:
        >>> read_number("1 1/2").value, read_number("1,234.50").value, read_number("x")
        (Fraction(3, 2), Fraction(2469, 2), None)
    """
    if match := _SCALED.fullmatch(text):
        number = read_number(match[1])
        return number and Number(number.value * 10 ** _ZEROS[match[2]])
    if match := _DECIMAL.fullmatch(text):
        sign, digits, percent = match.groups()
        digits = re.sub("[, ]", "", digits)
        value = Fraction(digits.rstrip(".") or "0")
        return Number(-value if sign == "-" else value, bool(percent), len(digits.partition(".")[2]))
    if match := _FRACTION.fullmatch(text):
        sign, whole, top, short_top, bottom, short_bottom = match.groups()
        return _fraction(sign, whole, top or short_top, bottom or short_bottom)
    if match := _REPEATING.fullmatch(text):
        return _repeating(*match.groups())
    if match := _SLASH.fullmatch(text):
        return _fraction(*match.groups())
    return None


def _fraction(sign: str, whole: str | None, top: str, bottom: str) -> Number | None:
    if int(bottom) == 0:
        return None
    value = int(whole or 0) + Fraction(int(top), int(bottom))
    return Number(-value if sign == "-" else value)


def _repeating(sign: str, whole: str, first: str, period: str) -> Number:
    value = int(whole or "0") + Fraction(
        int(first + period) - int(first or "0"), 10 ** len(first) * (10 ** len(period) - 1)
    )
    return Number(-value if sign == "-" else value)


def _is_no_number(original: str, text: str) -> bool:
    return _NO_NUMBER.search(text) is not None or _is_product(text) or _is_words(original, text)


def _is_product(text: str) -> bool:
    """Whether a text is a number times two variables, which math-verify would take for a unit."""
    match = _PRODUCT.fullmatch(text)
    return match is not None and match[1] not in _SHORT_UNITS


def _same_numbers(gold: Number, answer: Number) -> bool:
    if gold.percent != answer.percent:
        share = (gold if gold.percent else answer).value / 100
        other = (answer if gold.percent else gold).value
        return other in (share, share * 100)
    if gold.value == answer.value:
        return True
    places = {gold.places, answer.places} - {None}
    if len(places) != 1:  # two decimals or two fractions
        return False
    (given,) = places
    return given is not None and given >= _PLACES and round(gold.value, given) == round(answer.value, given)


def _says_more(pattern: re.Pattern[str], ours: str, theirs: str) -> bool:
    return pattern is _LETTER or "_" in ours + theirs


def _same_digits(gold: re.Match[str], answer: re.Match[str]) -> bool:
    """Digits in a base: the base may be left out, but not be another one."""
    return gold[1].upper() == answer[1].upper() and (gold[2] == answer[2] or None in (gold[2], answer[2]))


def _same_groups(gold: re.Match[str], answer: re.Match[str]) -> bool:
    return gold[1] == answer[1]


def _is_words(original: str, text: str) -> bool:
    """Whether an answer is words, which math-verify would take for a product of variables."""
    letters = sum(map(str.isalpha, text))
    enough = 2 if "\\text" in _with_plain_looks(original) else 3
    return letters >= enough and bool(_WORDS.fullmatch(text)) and text.casefold() not in _FUNCTIONS


def _with_plain_looks(text: str) -> str:
    for pattern, replacement in _LOOKS:
        text = pattern.sub(replacement, text)
    return text.strip().rstrip(".;, ").strip()


def _parted(pattern: re.Pattern[str], text: str) -> tuple[str, str]:
    match = pattern.search(text)
    return (text, "") if match is None else (text[: match.start()], match[0])


def _compact(text: str) -> str:
    """Without spaces, except between digits: 1 1/2 is not 11/2."""
    return re.sub(r"(?<![\d\s])\s+|\s+(?![\d\s])", "", text)


def _letters(text: str) -> str:
    """Letters, digits and the colons of times and ratios."""
    return "".join(char for char in text.replace("\\text", "") if char.isalnum() or char == ":").casefold()
