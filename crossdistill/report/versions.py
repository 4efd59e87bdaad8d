"""The versions that a run's numbers depend on."""

import platform
from importlib import metadata

import crossdistill

_PACKAGES = ("torch", "transformers", "trl", "tokenizers")


def versions() -> dict[str, str]:
    """Versions of Python, of this package, and of the installed packages that a run's numbers depend on."""
    found = {"python": platform.python_version(), "crossdistill": crossdistill.__version__}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
