"""Sentences about animals, a part of the sorting student's pretraining that its task does not ask for."""

import random

from benchmarks.arena.sorting import ANIMALS

VERBS = ("sleeps", "hides", "waits", "eats", "plays", "sits", "rests", "lives")
PLACES = ("near the river", "in the grass", "by the lake", "on the sand", "in the wood")
PLACES += ("at the farm", "under a tree", "behind the barn", "on the hill", "by the road")


def sentence(rng: random.Random) -> str:
    """A random sentence.

    Example:
        >>> sentence(random.Random(0))
        'the skunk rests under a tree.'
    """
    return f"the {rng.choice(ANIMALS)} {rng.choice(VERBS)} {rng.choice(PLACES)}."
