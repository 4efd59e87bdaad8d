"""Rollouts by vLLM: settings that cannot work, told before weights are read."""

from importlib.util import find_spec

from crossdistill.errors import InputError
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.vllm.weight_files import check_folder


def check_vllm(args: CrossTokenizerConfig) -> None:
    """Check the settings of vLLM; a server is asked later.

    Args:
        args: the trainer's configuration.

    Raises:
        InputError: vLLM is missing, or the student's weights cannot reach it.
    """
    folder, is_served = args.vllm_weights_folder, args.use_vllm and args.vllm_mode == "server"
    if folder is not None and not is_served:
        raise InputError(
            'vllm_weights_folder is for the weights of a vLLM server: set use_vllm = true and vllm_mode = "server", or '
            "leave it out."
        )
    if args.use_vllm and find_spec("vllm") is None:
        raise InputError("use_vllm = true needs vllm, which is not installed: pip install 'crossdistill[vllm]'")
    if folder is not None:
        check_folder(folder, f"vllm_weights_folder = {folder!r}")
    elif is_served and args.device.type != "cuda":
        raise InputError(
            f"TRL sends weights to a vLLM server by NCCL, which has no {args.device.type.upper()}: name a folder that "
            "both see as vllm_weights_folder."
        )
