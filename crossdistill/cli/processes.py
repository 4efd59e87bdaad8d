"""How a process of several ends."""

import gc
import sys


def leave_processes() -> None:
    """Leave the other processes of a launch while Python is still whole.

    Threads of Gloo release the tensors that they have sent some time after that, and abort a process whose interpreter
    is shutting down meanwhile (pytorch/pytorch#190489), so that a launcher takes a finished run for a failed one. The
    threads end with the last reference to their group: whatever else holds one must be gone first.

    Example:
        >>> leave_processes()  # nothing, in a process by itself
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        gc.collect()
        _forget_groups_of_meshes()
        distributed.destroy_process_group()


def _forget_groups_of_meshes() -> None:
    """Take their groups from device meshes, which DTensor keeps in caches of its own after the model is gone."""
    from torch.distributed.device_mesh import DeviceMesh

    for mesh in [one for one in gc.get_objects() if issubclass(type(one), DeviceMesh)]:
        vars(mesh).get("_pg_registry", {}).clear()
