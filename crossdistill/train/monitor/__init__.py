"""Observers of a run: they watch, log and warn, and never change a gradient."""
