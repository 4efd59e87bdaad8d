"""On-policy distillation across tokenizers.

The bytes are the currency: both models' tokens are placed on the bytes of the student's response, and
everything else is a thin layer over them. Importing the package loads numpy and nothing heavier.
"""

from crossdistill.align import Alignment, align
from crossdistill.errors import InputError
from crossdistill.tokens import ByteVocab, Encoding

__version__ = "0.1.0"

__all__ = ["Alignment", "ByteVocab", "Encoding", "InputError", "__version__", "align"]
