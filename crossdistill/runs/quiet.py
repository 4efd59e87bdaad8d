"""Quiet libraries, for programs that say themselves what happens."""

import sys
import warnings


def quiet_libraries() -> None:
    """Turn off the progress bars of libraries and their internal deprecation warnings.

    Bars of downloads stay on a terminal; elsewhere they would fill a file with carriage returns.
    """
    import datasets
    import transformers
    from huggingface_hub.utils import disable_progress_bars

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    if not sys.stderr.isatty():
        disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl|peft)\.")
