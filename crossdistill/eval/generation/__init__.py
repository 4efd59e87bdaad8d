"""What writes responses for an evaluation."""

from crossdistill.eval.generation.base import Generator, Wanted, Written

__all__ = ["Generator", "Wanted", "Written"]
