"""Whole runs: from a configuration file to an output folder with a model, its figures and a report."""
