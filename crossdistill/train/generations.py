"""Several responses to one prompt: what must hold so that every process samples, scores and trains whole groups."""

from typing import Any

from crossdistill.errors import InputError
from crossdistill.train.off_policy import GIVEN


def check_generations(args: Any) -> None:
    """Check that no group would be cut, or be copies of one response.

    Args:
        args: the trainer's configuration; `num_generations` is at least 1.

    Raises:
        InputError: a batch of rollouts that does not hold whole groups on each process, or given responses, of which
            there is one to a prompt.
    """
    size = args.num_generations
    if size == 1:
        return
    rows = args.per_device_train_batch_size * args.gradient_accumulation_steps
    if rows % size:
        raise InputError(
            f"num_generations = {size} does not divide the {rows} responses of a batch of rollouts on each process "
            f"(per_device_train_batch_size = {args.per_device_train_batch_size} x gradient_accumulation_steps = "
            f"{args.gradient_accumulation_steps}), so that a group would be cut: change one of the three."
        )
    cutting = {
        "split_batches of accelerator_config": args.accelerator_config.split_batches,
        "auto_find_batch_size": args.auto_find_batch_size,
    }
    for name in [name for name, is_set in cutting.items() if is_set]:
        raise InputError(f"num_generations = {size} cannot be used with {name}, which may cut a group: leave it out.")
    if args.on_policy_share < 1 and args.off_policy == GIVEN:
        raise InputError(
            f"num_generations = {size} cannot be used with given responses, of which the data has one to each prompt: "
            "set num_generations to 1, on_policy_share to 1, or off_policy to 'teacher'."
        )
