"""Installed packages whose own requirements the others do not meet, by their metadata."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGES = (
    *("crossdistill", "torch", "transformers", "tokenizers", "trl", "accelerate", "peft", "datasets", "vllm"),
    *("deepspeed", "verl", "bitsandbytes", "numpy", "huggingface-hub", "safetensors"),
)
"""Those that a run touches."""


@dataclass(frozen=True)
class Conflict:
    """A requirement that is not met.

    Attributes:
        owner: the package that has it, and the extra if it is one's: "crossdistill[train]".
        version: of the owner.
        requirement: as its metadata say.
        installed: the version of the required package.
    """

    owner: str
    version: str
    requirement: Requirement
    installed: str

    @property
    def needed(self) -> str:
        """The range, as pip takes it."""
        return f"{canonicalize_name(self.requirement.name)}{self.requirement.specifier}"

    def __str__(self) -> str:
        return f"{self.owner} {self.version} needs {self.needed}, and {self.installed} is installed"


def conflicts(
    installed: Callable[[str], str | None] | None = None,
    required: Callable[[str], list[tuple[str, Requirement]]] | None = None,
) -> Iterator[Conflict]:
    """Each requirement that is not met.

    Args:
        installed: the version of a package, None if it is missing; as installed here by default.
        required: (extra or "", requirement) of a package; by its metadata by default.
    """
    installed, required = installed or version_of, required or requirements_of
    for package in PACKAGES:
        found = installed(package)
        if found is None:
            continue
        requirements = required(package)
        lacking = {extra for extra, one in requirements if extra and installed(canonicalize_name(one.name)) is None}
        for extra, requirement in requirements:
            if extra in lacking:  # it is not used here
                continue
            name = canonicalize_name(requirement.name)
            other = installed(name) if name in PACKAGES else None
            if other is not None and not requirement.specifier.contains(other, prereleases=True):
                owner = f"{package}[{extra}]" if extra else package
                yield Conflict(owner, found, requirement, other)


def version_of(package: str) -> str | None:
    """The installed version; None if the package is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def requirements_of(package: str) -> list[tuple[str, Requirement]]:
    """What an installed package requires here: by itself (""), and with each of its extras for users."""
    own = [Requirement(line) for line in requires(package) or ()]
    extras = metadata(package).get_all("Provides-Extra") or []
    found = [("", one) for one in own if one.marker is None or one.marker.evaluate({"extra": ""})]
    for extra in (name for name in extras if name not in _FOR_DEVELOPERS):
        found += [
            (extra, one)
            for one in own
            if one.marker is not None
            and not one.marker.evaluate({"extra": ""})
            and one.marker.evaluate({"extra": extra})
        ]
    return found


_FOR_DEVELOPERS = {"dev", "test", "tests", "testing", "docs", "quality", "benchmarks", "all", "dev_dependencies"}
