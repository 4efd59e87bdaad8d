"""FSDP2 on a CPU: accelerate knows FSDP on accelerators alone, and trains with DDP on a CPU without a word."""

import os
from typing import Any

from accelerate.state import AcceleratorState, DistributedType, PartialState


def allow_fsdp() -> None:
    """From now on FSDP is FSDP on a CPU too, if ``accelerate launch`` asks for it."""
    AcceleratorState.__init__ = _with_fsdp(AcceleratorState.__init__)


def _with_fsdp(init: Any) -> Any:
    def with_fsdp(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        is_new = not AcceleratorState._shared_state
        init(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if not is_new or not _is_asked_for() or self.distributed_type != DistributedType.MULTI_CPU:
            return
        self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        self.fsdp_plugin = fsdp_plugin
        if self._mixed_precision != "no":
            fsdp_plugin.set_mixed_precision(self._mixed_precision)

    return with_fsdp


def _is_asked_for() -> bool:
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
