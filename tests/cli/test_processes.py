"""A process of several ends."""

import gc
import weakref

import pytest
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from crossdistill.cli.processes import leave_processes


class Holder:
    """Holds a group, as a trainer does, in a circle that only the collector opens."""

    def __init__(self, group: distributed.ProcessGroup):
        self.group, self.own = group, self


@pytest.fixture
def group(tmp_path):
    """A weak reference to a group of one process, while nothing is collected by itself."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    gc.disable()
    try:
        yield weakref.ref(distributed.group.WORLD)
    finally:
        gc.enable()
        if distributed.is_initialized():
            distributed.destroy_process_group()


def test_no_group_is_left(group):
    """Its threads would meet the shutdown of the interpreter."""
    Holder(distributed.group.WORLD)
    leave_processes()
    assert not distributed.is_initialized()
    assert group() is None


def test_no_group_is_left_by_a_sharded_tensor(group):
    """DTensor's caches keep its mesh."""
    mesh = init_device_mesh("cpu", (1,))
    tensor = distribute_tensor(torch.ones(4), mesh, [Shard(0)])
    tensor.full_tensor()
    del tensor, mesh
    leave_processes()
    assert group() is None
