"""Optional dependencies: the extras of the package, and what to install if one is missing."""

from importlib.util import find_spec

from crossdistill.errors import InputError

EXTRAS = {
    "train": ("trl", "accelerate", "peft", "datasets"),
    "report": ("jinja2", "matplotlib"),
    "served": ("httpx", "tenacity"),
    "eval": ("datasets", "filelock", "math_verify", "psutil", "reasoning_gym", "scipy"),
}
"""Extra -> the modules that it installs."""


def missing(extra: str) -> list[str]:
    """Modules of an extra that are not installed."""
    return [module for module in EXTRAS[extra] if find_spec(module) is None]


def require(extra: str, *modules: str, user: str = "this command") -> None:
    """Check that an extra is installed, before anything imports it.

    Args:
        extra: "train", "report", "served" or "eval".
        modules: modules of the extra to check; all of them by default.
        user: what needs them, for the message.

    Raises:
        InputError: a module is not installed; the message names the first one and the way to install it.

    Example:
        >>> require("train", user="training")  # returns silently if trl, accelerate, peft and datasets are installed
    """
    absent = [module for module in missing(extra) if not modules or module in modules]
    if absent:
        raise InputError(f"{user} needs {absent[0]}, which is not installed: pip install 'crossdistill[{extra}]'")
