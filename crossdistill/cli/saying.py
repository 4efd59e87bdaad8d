"""What ends a run, said once: by the main one of several processes if all of them know it."""

from rich.console import Console

from crossdistill.errors import is_known_to_all


def say(error: BaseException, text: str, markup: bool = False) -> None:
    """Print to stderr what an error means to the user.

    Of an error that all processes know, the main process speaks, and the others wait for it: a launcher ends all
    processes as soon as one of them has ended.

    Args:
        error: that ends the run.
        text: to print.
        markup: whether the text has rich's markup.
    """
    console = Console(stderr=True)
    if not is_known_to_all(error):
        console.print(text, markup=markup, soft_wrap=True, highlight=False)
        return
    from accelerate import PartialState

    state = PartialState()
    if state.is_main_process:
        console.print(text, markup=markup, soft_wrap=True, highlight=False)
    state.wait_for_everyone()
