"""On-policy distillation across tokenizers.

Bytes are the common currency: both models' tokens are located on the bytes of the student's response, and everything
else is a thin layer on top. Importing the package loads nothing else; its names load numpy and nothing heavier.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from crossdistill.errors import InputError
from crossdistill.lazy import names_of

if TYPE_CHECKING:
    from crossdistill.align import Alignment, align
    from crossdistill.tokens import ByteVocab, Encoding

__version__ = "0.1.0"

__all__ = ["Alignment", "ByteVocab", "Encoding", "InputError", "__version__", "align"]

# the function has the name of its folder, which takes the name once, when it is first imported: that is now
import_module(".align", __name__)
globals().pop("align")
__getattr__ = names_of(__name__, {"Alignment": "align", "ByteVocab": "tokens", "Encoding": "tokens", "align": "align"})
