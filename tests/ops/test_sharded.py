"""Parameters that FSDP2 shards: whole in the forward pass, and with the mean of all processes' gradients."""

from collections.abc import Iterator

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode
from torch.testing._internal.distributed.fake_pg import FakeStore

from crossdistill.ops import LMHead, full_shape, full_tensor
from crossdistill.ops.sharded import own_part


@pytest.fixture
def sharded() -> Iterator[nn.Parameter]:
    """[4, 3] on the first of two processes, whose collectives take no time and give no numbers."""
    distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    mesh = init_device_mesh("cpu", (2,))
    yield nn.Parameter(distribute_tensor(torch.arange(12.0).view(4, 3), mesh, [Shard(0)]))
    distributed.destroy_process_group()


def test_shapes_and_parts(sharded):
    assert full_shape(sharded) == (4, 3)
    assert own_part(sharded).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tuple(full_tensor(sharded).shape) == (4, 3)


def collectives(mode: CommDebugMode) -> list[str]:
    """Names, without their name spaces."""
    return [str(name).rpartition(".")[2] for name in mode.get_comm_counts()]


@pytest.mark.parametrize("layer", [full_tensor, lambda weight: LMHead.of(_layer(weight)).weight])
def test_gradients_are_exchanged(sharded, layer):
    """Each process has the gradient of its own samples: to keep a part of it would leave out what the others have."""
    with CommDebugMode() as forward:
        whole = layer(sharded)
    assert collectives(forward) == ["all_gather_into_tensor"]
    with CommDebugMode() as backward:
        whole.sum().backward()
    assert collectives(backward) == ["reduce_scatter_tensor"]
    assert sharded.grad.placements == (Shard(0),)


def _layer(weight: nn.Parameter) -> nn.Module:
    layer = nn.Linear(3, 4, bias=False)
    layer.weight = weight
    return layer
