"""What ``crossdistill arena --plan`` says of a file that is right."""

from collections.abc import Iterator

from crossdistill.arena.file import ArenaFile
from crossdistill.arena.plan import entrants, lacking_of, num_cells


def preview(arena: ArenaFile) -> Iterator[str]:
    """How many cells there are, and what will have no result: controls that lack their means, claims without a pair.

    Args:
        arena: the file.
    """
    yield f"{len(arena.pairs)} pairs, {len(arena.methods)} methods: {num_cells(arena)} cells"
    for pair in arena.pairs:
        for control in arena.controls:
            lacking = lacking_of(arena, pair, control)
            if lacking is not None:
                yield f"{control} is not run on {pair}: {lacking}"
    for claim in arena.claims:
        if not any({claim.better, claim.worse} <= {*entrants(arena, pair)} for pair in arena.pairs):
            yield f"the claim {claim.claim!r} is not answered: no pair has both {claim.better} and {claim.worse}"
