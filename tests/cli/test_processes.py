"""A process of several ends."""

import gc
import weakref

from torch import distributed

from crossdistill.cli.processes import leave_processes


class Holder:
    """Holds a group, as a trainer does, in a circle that only the collector opens."""

    def __init__(self, group: distributed.ProcessGroup):
        self.group, self.own = group, self


def test_no_group_is_left(tmp_path):
    """Its threads would meet the shutdown of the interpreter."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    group = weakref.ref(distributed.group.WORLD)
    gc.disable()
    try:
        Holder(distributed.group.WORLD)
        leave_processes()
        assert not distributed.is_initialized()
        assert group() is None
    finally:
        gc.enable()
