"""``crossdistill`` where FSDP is FSDP on a CPU too, and with a fault of `tests.engines.faults` if FAULT names one."""

import os
from typing import Any

from crossdistill.cli import main
from crossdistill.train import CrossTokenizerTrainer
from tests.engines.cpu_deepspeed import allow_deepspeed
from tests.engines.cpu_fsdp import allow_fsdp
from tests.engines.faults import FAULTS


def _with_fault(init: Any, name: str) -> Any:
    def with_fault(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        FAULTS[name](self)

    return with_fault


if __name__ == "__main__":
    allow_fsdp()
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        allow_deepspeed()
    if "FAULT" in os.environ:
        CrossTokenizerTrainer.__init__ = _with_fault(CrossTokenizerTrainer.__init__, os.environ["FAULT"])
    main()
