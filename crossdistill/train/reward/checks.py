"""Settings with which a reward cannot work, told before anything is read."""

from typing import Any

from crossdistill.distill.group_rewards import check_reward_weight, check_takes_rewards
from crossdistill.errors import InputError
from crossdistill.objectives import Objective


def check_reward(args: Any, objective: Objective | None) -> None:
    """Check that a reward has groups to compare in, and an objective that reads it.

    Args:
        args: the trainer's configuration, with a reward.
        objective: None if it is chosen later, to suit.

    Raises:
        InputError: it has not.
    """
    check_reward_weight(args.reward_weight)
    if objective is not None:
        check_takes_rewards(objective)
    if args.num_generations < 2:
        raise InputError(
            f"reward = {args.reward!r} is compared among several responses to one prompt, and num_generations = "
            f"{args.num_generations}: set it to 2 or more, such as 8."
        )
    if args.on_policy_share < 1:
        raise InputError(
            f"a reward weighs what the student itself sampled, and on_policy_share = {args.on_policy_share}: set it to "
            "1, or leave the reward out."
        )
    if args.remove_unused_columns:
        raise InputError(
            "remove_unused_columns = true would take away the columns by which the reward grades: leave it out."
        )


def check_no_reward(args: Any) -> None:
    """Check that a run without a reward sets nothing of one.

    Raises:
        InputError: it does, and would ignore it.
    """
    if args.reward_options or args.reward_weight != 1.0:
        name = "reward_options" if args.reward_options else "reward_weight"
        raise InputError(f"{name} is set and there is no reward: set reward, or leave {name} out.")
