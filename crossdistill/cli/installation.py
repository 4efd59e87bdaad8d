"""Packages, extras, devices and back-ends of this installation."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from crossdistill.extras import EXTRAS, missing

_PACKAGES = ("crossdistill", "torch", "transformers", "tokenizers", "trl", "accelerate", "peft", "datasets")
_OPTIONAL = {
    "vllm": "fast generation: use_vllm = true",
    "deepspeed": "ZeRO sharding: accelerate launch with a DeepSpeed configuration",
    "bitsandbytes": "quantised students (QLoRA)",
    "tensorboard": 'logging: report_to = "tensorboard"',
    "wandb": 'logging: report_to = "wandb"',
    "gguf": "reading GGUF weights (make real-models)",
}
_PURPOSES = {
    "train": "train, sft, demo",
    "report": "HTML pages and charts",
    "served": "teachers behind a server",
    "eval": "eval, compare and eval_tasks",
}


def packages() -> list[tuple[str, str]]:
    """(name, version) of each package; for an optional one that is missing, its purpose in place of the version."""
    return [(name, _version(name) or "not installed") for name in _PACKAGES] + [
        (name, _version(name) or f"not installed ({purpose})") for name, purpose in _OPTIONAL.items()
    ]


def extras() -> list[tuple[str, str]]:
    """(name, state) of each extra of this package: installed, or what it lacks and the way to install it."""
    return [(name, _state(name)) for name in EXTRAS]


def backends() -> list[tuple[str, str]]:
    """(name, state) of the devices and of the ways to distribute and to generate that work here."""
    import torch

    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return [
        ("threads on the CPU", str(torch.get_num_threads())),
        ("cuda", ", ".join(gpus) if gpus else "no GPU"),
        ("mps", "yes" if torch.backends.mps.is_available() else "no"),
        ("bfloat16 on the GPU", "yes" if gpus and torch.cuda.is_bf16_supported() else "no"),
        ("distributed", _distributed()),
        ("generation", "transformers" + (", vLLM" if find_spec("vllm") else "")),
    ]


def _state(extra: str) -> str:
    absent = missing(extra)
    if not absent:
        return f"installed ({_PURPOSES[extra]})"
    return f"not installed ({_PURPOSES[extra]}): lacks {', '.join(absent)}; pip install 'crossdistill[{extra}]'"


def _distributed() -> str:
    import torch.distributed as dist

    if not dist.is_available():
        return "no"
    return ", ".join(
        name
        for name, available in (("gloo", dist.is_gloo_available()), ("nccl", dist.is_nccl_available()))
        if available
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
