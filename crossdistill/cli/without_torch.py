"""A process that reads tokenizers alone does without PyTorch, which takes longer to load than everything else."""

import os
import sys


def leave_out_torch(arguments: list[str]) -> None:
    """Keep PyTorch out of this process if its command reads tokenizers and no model.

    transformers imports PyTorch with every configuration if it finds it. Without it "only tokenizers, configuration
    and file/data utilities" work, in its own words: the same code reads the same tokenizers. ``None`` in `sys.modules`
    is Python's way to say that there is no such module. It holds until the process ends, so only the entry point of the
    program calls this. Files of responses are left alone, because datasets, which may read them, trips over it.

    One thing differs: a configuration whose dtype PyTorch does not have is read, and refused by all commands that read
    the model. The dtype is that of weights, which ``align`` does not read, so it has no more to say of it than of
    weights that are missing; a list of dtypes of our own would only be one more to fall behind PyTorch's.

    Args:
        arguments: of the command line, the command first.

    Example:
        >>> leave_out_torch(["train", "run.toml"])  # nothing: it needs PyTorch
    """
    is_light = arguments[:1] == ["align"] and not any(option.startswith("--responses") for option in arguments)
    if is_light and not {"torch", "transformers"} & sys.modules.keys():
        sys.modules["torch"] = None  # type: ignore[assignment]  # as the language defines it for a missing module
        os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # it advises to install PyTorch
