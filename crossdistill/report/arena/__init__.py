"""The arena's results, from the content of ``arena.json``: in the terminal, as Markdown, and as a page."""
