"""``crossdistill verl-run``: verl's own ``main_ppo``, with one sentence and an exit code for failures."""

import os
import sys

import typer

from crossdistill.cli.running import TRY_LATER
from crossdistill.cli.saying import say


def command(context: typer.Context) -> None:
    """Run verl's main_ppo in its environment; takes the same arguments.

    First checks that verl loads the plug-in. Exits with 2 for bad input and with 75 if the teacher failed; with 1
    for anything else, as verl itself does for all.
    """
    from crossdistill.errors import InputError, TeacherError
    from crossdistill.integrations.verl.loading import check_plugin
    from crossdistill.integrations.verl.record import ResponseError

    check_plugin()
    from verl.trainer.main_ppo import main

    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that hydra hands errors on
    sys.argv = ["crossdistill verl-run", *context.args]  # which hydra reads
    try:
        main()
    except InputError as error:
        raise InputError(_sentence(error)) from None
    except TeacherError as error:
        say(error, f"error: {_sentence(error)}")
        raise typer.Exit(TRY_LATER) from None
    except ResponseError as error:
        say(error, f"error: {_sentence(error)}")
        raise typer.Exit(1) from None


def _sentence(error: BaseException) -> str:
    """Without the traceback that ray puts into the error of another process."""
    return str(getattr(error, "cause", error))
