"""The students and teachers of the tests of scoring."""

from tests.distill.conftest import sides, special, student

__all__ = ["sides", "special", "student"]
