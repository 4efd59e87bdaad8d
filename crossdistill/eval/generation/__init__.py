"""Responses for an evaluation: written by a model in this process, or by a server."""

from crossdistill.eval.generation.base import Generator, Wanted, Written
from crossdistill.eval.generation.local import LocalGenerator

__all__ = ["Generator", "LocalGenerator", "Wanted", "Written"]
