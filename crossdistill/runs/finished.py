"""Whether anything is left of a run that is resumed."""

from pathlib import Path

from crossdistill.errors import InputError
from crossdistill.runs.config import RunConfig, SFTRunConfig
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.identity import identity, identity_of
from crossdistill.runs.run_file import read_run


def is_finished(output: Path, config: RunConfig | SFTRunConfig) -> bool:
    """Whether a folder holds the finished run of a configuration.

    Args:
        output: the folder.
        config: of the run, which may ask for more steps than the folder has.

    Raises:
        InputError: its ``run.json`` cannot be read.
    """
    folder = RunFolder(output)
    if not (folder.run.exists() and folder.model.exists()):
        return False
    return identity_of(read_run(output)["config"]) == identity(config)


def check_goes_on(folder: RunFolder, checkpoint: Path | None) -> None:
    """Check that a finished run, of which more is asked, can go on.

    Args:
        folder: of the run that is resumed.
        checkpoint: to go on from.

    Raises:
        InputError: there is none; the run would begin anew.
    """
    if checkpoint is None and folder.run.exists():
        raise InputError(
            f"the run in {folder.path} is finished and has no whole checkpoint to go on from, perhaps because "
            'save_strategy is "no": start a new run in another folder.'
        )
