"""Evaluations as a reader sees them."""
