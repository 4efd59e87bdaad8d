"""Comparison of models on the same problems: paired differences, tests, gap recovery, cost to reach an accuracy."""
