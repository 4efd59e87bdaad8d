"""The former name of :class:`crossdistill.paired.PairedTokenization`, kept importable."""

from crossdistill.paired import PairedTokenization as Reading

__all__ = ["Reading"]
