"""Dialects of HTTP APIs that give the log-probabilities of a prompt.

A dialect is one file here: a subclass of :class:`~crossdistill.teachers.served.api.dialect.Dialect` and its line in
``registry.py``. Bodies and answers are plain JSON values; sending them is left to ``http/``.
"""
