"""Preflight: what cannot work is refused before weights are read."""
