"""On-policy distillation across tokenizers.

Bytes are the common currency: both models' tokens are located on the bytes of the student's response, and everything
else is a thin layer on top. Importing the package loads numpy and nothing heavier.
"""

from crossdistill.align import Alignment, align
from crossdistill.errors import InputError
from crossdistill.tokens import ByteVocab, Encoding

__version__ = "0.1.0"

__all__ = ["Alignment", "ByteVocab", "Encoding", "InputError", "__version__", "align"]
