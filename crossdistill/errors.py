"""What the user is told when an input cannot work."""


class InputError(ValueError):
    """Bad input from the user: the message names the thing, why it cannot work, and the way out.

    The command line prints it as one sentence and exits with code 2.
    """


class TeacherError(RuntimeError):
    """A teacher behind a server failed the run: what was trained so far is sound, and the run can be resumed."""


class TeacherUnavailableError(TeacherError):
    """The server did not answer for as long as it is waited for, or refuses what it took at the start."""


class TeacherChangedError(TeacherError):
    """Another model answers than the one that the run began with."""
