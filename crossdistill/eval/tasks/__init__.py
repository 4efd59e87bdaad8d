"""Evaluation tasks, by name."""
