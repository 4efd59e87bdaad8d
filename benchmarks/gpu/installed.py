"""What a cell needs that may be absent."""

from importlib.util import find_spec

TRANSFORMERS, VLLM = "transformers", "vllm"
"""What samples the rollouts of a training step."""
LIGER_JSD, LIGER_CROSS_ENTROPY, CUT_CROSS_ENTROPY = "liger_jsd", "liger_cross_entropy", "cut_cross_entropy"
"""Fused kernels of others (:mod:`benchmarks.gpu.peers`)."""

_PACKAGES = {
    LIGER_JSD: "liger_kernel",
    LIGER_CROSS_ENTROPY: "liger_kernel",
    CUT_CROSS_ENTROPY: "cut_cross_entropy",
    VLLM: "vllm",
}
_INSTALL = {VLLM: "pip install 'crossdistill[vllm]'"}


def why_not(cell: str, device: str) -> str | None:
    """Why a cell cannot be measured here; None if it can.

    Example:
        >>> why_not("liger_jsd", "cpu")
        'its Triton kernels need a GPU'
        >>> why_not("gkd", "cpu")
    """
    package = _PACKAGES.get(cell)
    if package is None:
        return None
    if device == "cpu" and cell != VLLM:
        return "its Triton kernels need a GPU"
    if find_spec(package) is None:
        return f"{package} is not installed: {_INSTALL.get(cell, 'pip install --group gpu-benchmark')}"
    return None
