"""Evaluation tasks, by name."""

from crossdistill.eval.tasks.registry import available, get

__all__ = ["available", "get"]
