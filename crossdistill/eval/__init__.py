"""Evaluation of models on tasks: intervals for what is measured."""
