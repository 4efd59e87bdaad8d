"""Whole runs: a configuration file and an output folder in, a model, figures and a report out."""
