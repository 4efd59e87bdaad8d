"""Why there is no model under a name: a folder that is misspelt, a hub that this machine may not read."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from huggingface_hub.utils import HFValidationError, validate_repo_id

_WAY_OUT = "give a model's folder, or a hub id that this machine can reach"
_LIKE_ITS_NEIGHBOUR = 0.7


def explained(name: str, error: BaseException, reason: str) -> tuple[str, str]:
    """Why a model cannot be read, and the way out.

    Args:
        name: that was given.
        error: of the library.
        reason: what it says, in one line.

    Example:
        >>> explained("/no/such/folder", OSError("Repo id must be in the form ..."), "Repo id must be ...")
        ('there is no such folder', "give a model's folder, or a hub id that this machine can reach")
    """
    causes = list(_causes(error))
    if Path(name).exists():
        return reason, _WAY_OUT
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return (
            "it is gated, and this machine has no token that may read it",
            f"accept its conditions at {constants.ENDPOINT}/{name}, and log in with `hf auth login` or HF_TOKEN",
        )
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        reason = "there is no such folder, and no such model on the hub, or it is private and HF_TOKEN may not read it"
    elif not may_be_on_the_hub(name):
        reason = "there is no such folder"
    elif constants.is_offline_mode():
        reason = "there is no such folder, it is not in the cache of the hub, and HF_HUB_OFFLINE keeps it from there"
    near = near_folder(name)
    return reason, _WAY_OUT if near is None else f"did you mean {near!r}? Otherwise {_WAY_OUT}"


def near_folder(name: str) -> str | None:
    """The folder whose name is nearly this one; None if there is none.

    Example:
        >>> near_folder("/no/such/folder") is None
        True
    """
    wanted = Path(name)
    try:
        neighbours = [path.name for path in wanted.parent.iterdir() if path.is_dir()]
    except OSError:
        return None
    near = get_close_matches(wanted.name, neighbours, n=1, cutoff=_LIKE_ITS_NEIGHBOUR)
    return str(wanted.parent / near[0]) if near else None


def may_be_on_the_hub(name: str) -> bool:
    """Whether a name has the form of a hub id.

    Example:
        >>> may_be_on_the_hub("org/model"), may_be_on_the_hub("/no/such/folder"), may_be_on_the_hub("./model")
        (True, False, False)
    """
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
