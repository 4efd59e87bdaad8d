"""Text on which a tokenizer is tried before it is used: scripts, white space and signs that families treat apart."""

PROBES = (
    "Hello, world! 3 + 4 = 7",
    "  two  spaces\n\n\ttab\r\n",
    "naïve café ≥ 2√2 ∑xᵢ",
    "你好，世界。結果は42です",
    "Привет мир שלום مرحبا",
    "🤗👩‍🚀 e\u0301",
    "\x00\x01\x7f",
)
