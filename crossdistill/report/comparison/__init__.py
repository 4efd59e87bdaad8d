"""Compared models, in the terminal and as a page."""
