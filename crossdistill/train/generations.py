"""Several responses to one prompt: what must hold so that every process samples, scores and trains whole groups, and
what an objective needs that compares them."""

from typing import Any

from crossdistill.errors import InputError
from crossdistill.objectives import Objective
from crossdistill.train.off_policy import GIVEN


def check_generations(args: Any, objective: Objective | None) -> None:
    """Check that no group would be cut, or be copies of one response, and that there are groups if they are compared.

    Args:
        args: the trainer's configuration; `num_generations` is at least 1.
        objective: None if it is chosen later, to suit.

    Raises:
        InputError: a batch of rollouts that does not hold whole groups on each process; given responses, of which there
            is one to a prompt; or an objective that compares whole responses to one prompt, and one response, or none
            that is whole.
    """
    size = args.num_generations
    if objective is not None and objective.compares_groups:
        _check_compared(objective.name, args)
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


def _check_compared(name: str, args: Any) -> None:
    if args.num_generations < 2:
        raise InputError(
            f"objective {name!r} compares the responses to one prompt with each other: set num_generations to 2 or "
            "more, such as 4."
        )
    if not args.stop_unit:
        raise InputError(
            f"objective {name!r} compares whole responses, their end included: leave stop_unit on, or choose an "
            "objective that compares parts of them, such as dpca."
        )
    if (args.metric_for_best_model or "").removeprefix("eval_") == "loss":
        raise InputError(
            f"objective {name!r} has no loss in evaluation, which samples one response to each prompt: set "
            "metric_for_best_model = 'teacher_gap' and greater_is_better = False."
        )
