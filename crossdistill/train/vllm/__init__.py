"""Rollouts by vLLM: the log-probabilities that it samples with, and how the student's weights reach it."""
