"""The shipped corpus and what it must contain."""

import unicodedata

from crossdistill.inspection import corpus

LANGUAGES = (
    *("arabic", "chinese", "finnish", "french", "german", "greek", "hebrew", "hindi", "japanese", "korean"),
    *("russian", "spanish", "thai", "turkish", "vietnamese"),
)
LIMIT_BYTES = 200_000


def texts(category: str) -> dict[str, str]:
    return {item.name: item.data.decode() for item in corpus() if item.category == category}


def test_every_text_is_utf8_and_long_enough():
    assert len(corpus()) == len({item.title for item in corpus()})
    for item in corpus():
        assert len(item.data.decode()) > 100, item.title
    assert sum(len(item.data) for item in corpus()) < LIMIT_BYTES


def test_languages_are_in_their_own_scripts():
    languages = texts("languages")
    assert len(languages) >= 20
    assert set(LANGUAGES) <= languages.keys()
    scripts = {
        "chinese": "CJK",
        "japanese": "HIRAGANA",
        "korean": "HANGUL",
        "arabic": "ARABIC",
        "hebrew": "HEBREW",
        "hindi": "DEVANAGARI",
        "thai": "THAI",
        "russian": "CYRILLIC",
        "greek": "GREEK",
        "tamil": "TAMIL",
        "bengali": "BENGALI",
        "georgian": "GEORGIAN",
        "armenian": "ARMENIAN",
    }
    for name, script in scripts.items():
        letters = [unicodedata.name(char, "") for char in languages[name] if char.isalpha()]
        assert sum(letter.startswith(script) for letter in letters) > 0.3 * len(letters), name


def test_categories():
    assert len(texts("code")) >= 6
    assert "\\frac" in texts("maths")["latex"]
    assert "∑" in texts("maths")["unicode"]
    assert texts("numbers")
    assert "\u200d" in texts("symbols")["emoji"]
    assert "e\u0301" in texts("symbols")["marks"]
    assert "<think>" in texts("chat")["reasoning"]
    white = texts("layout")["white_space"]
    assert all(part in white for part in ("\t\t\t", "\r\n", "        ", "\n\n\n"))
    assert "| ---" in texts("layout")["markdown"].replace("|---", "| ---").replace("|:---", "| ---")
