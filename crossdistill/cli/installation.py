"""What is installed on this machine and which back-ends work on it."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

_PACKAGES = ("crossdistill", "torch", "transformers", "trl", "accelerate", "peft", "datasets", "tokenizers")
_OPTIONAL = {
    "vllm": "fast generation: use_vllm = true",
    "deepspeed": "ZeRO sharding: accelerate launch with a DeepSpeed configuration",
    "bitsandbytes": "quantised students (QLoRA)",
    "tensorboard": 'logging: report_to = "tensorboard"',
    "wandb": 'logging: report_to = "wandb"',
    "gguf": "reading GGUF weights (make real-models)",
}


def packages() -> list[tuple[str, str]]:
    """Version of each package, and what the missing optional ones would be for."""
    return [(name, _version(name) or "missing") for name in _PACKAGES] + [
        (name, _version(name) or f"not installed ({purpose})") for name, purpose in _OPTIONAL.items()
    ]


def backends() -> list[tuple[str, str]]:
    """Devices and ways to generate and to distribute that work here."""
    import torch

    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return [
        ("cpu", f"{torch.get_num_threads()} threads"),
        ("cuda", ", ".join(gpus) if gpus else "no GPU"),
        ("mps", "yes" if torch.backends.mps.is_available() else "no"),
        ("bfloat16 on the GPU", "yes" if gpus and torch.cuda.is_bf16_supported() else "no"),
        ("distributed", _distributed()),
        ("generation", "transformers" + (", vLLM" if find_spec("vllm") else "")),
    ]


def _distributed() -> str:
    import torch.distributed as dist

    if not dist.is_available():
        return "no"
    return ", ".join(
        name for name, there in (("gloo", dist.is_gloo_available()), ("nccl", dist.is_nccl_available())) if there
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
