"""What of this machine a Python interpreter needs: itself, its standard library, the system's libraries."""

import sys
import sysconfig
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

LIBRARIES = ("numpy",)
"""Packages beside the standard library that a program may import, if they are installed: tests of HumanEval+ do."""

SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")


def executable() -> Path:
    """The interpreter itself, outside any virtual environment."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def folders() -> list[Path]:
    """What to show read-only: the interpreter and the folders of its libraries, those of the system among them."""
    own = [executable(), Path(sysconfig.get_path("stdlib")), Path(sys.base_prefix) / "lib"]
    paths = [path for path in [*map(Path, SYSTEM), *own] if path.exists()]
    return [path for path in dict.fromkeys(paths) if not any(other in path.parents for other in paths)]


def hidden() -> list[Path]:
    """Folders of packages among them: a data set's package has its tests there."""
    found = [
        package
        for folder in folders()
        for pattern in ("python*/site-packages", "python*/dist-packages")
        for package in sorted(folder.glob(pattern))
    ]
    return [path for path in found if path.is_dir()]


def libraries(names: Sequence[str] = LIBRARIES) -> list[Path]:
    """The folders of packages, with the shared libraries that their wheels bring.

    Example:
        >>> [path.name for path in libraries(["json"])]
        ['json']
    """
    found = []
    for name in names:
        spec = find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            folder = Path(spec.submodule_search_locations[0])
            found += [folder, folder.with_name(f"{name}.libs")]
    return [folder for folder in found if folder.is_dir()]
