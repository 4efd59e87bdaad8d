"""Quiet libraries, for programs that say themselves what happens."""

import warnings


def quiet_libraries() -> None:
    """Turn off the progress bars of libraries and their internal deprecation warnings."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl|peft)\.")
