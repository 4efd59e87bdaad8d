"""The rounding of a dtype."""

import torch


def rounding(dtype: torch.dtype) -> float:
    """Relative error of one operation; that of TF32 for float32 if it is allowed.

    Example:
        >>> rounding(torch.bfloat16)
        0.0078125
    """
    uses_tf32 = dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest"
    return 2.0**-11 if uses_tf32 else torch.finfo(dtype).eps
