"""What the user is told when an input cannot work."""


class InputError(ValueError):
    """Bad input from the user: the message names the thing, why it cannot work, and the way out.

    The command line prints it as one sentence and exits with code 2.
    """
