"""How far sampling may run ahead of training, so that no sample is older than allowed when it is trained on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """Samples are trained on in the order in which they were begun, a fixed number a step.

    So the step, and the policy version, at which a sample will be trained on are known when it is begun, and its
    staleness is bounded without throwing any away.

    Attributes:
        samples_per_step: of all processes and accumulated micro-batches.
        max_staleness: weight updates between the policy that samples and the policy that trains, at most.
        steps_per_version: optimisation steps between two weight updates.
        first_step: optimisation steps before this run, if it was resumed.
        first_version: policy version when sampling begins.

    Example:
        >>> pace = Pace(samples_per_step=4, max_staleness=1)
        >>> [pace.version_of(number) for number in (0, 3, 4, 8)]
        [0, 0, 1, 2]
        >>> pace.allows(number=7, version=0), pace.allows(number=8, version=0), pace.allows(number=8, version=1)
        (True, False, True)
    """

    samples_per_step: int
    max_staleness: int
    steps_per_version: int = 1
    first_step: int = 0
    first_version: int = 0

    def version_of(self, number: int) -> int:
        """The policy version at which the run's sample `number`, counted from 0, is trained on."""
        step = self.first_step + number // self.samples_per_step
        return self.first_version + step // self.steps_per_version - self.first_step // self.steps_per_version

    def allows(self, number: int, version: int) -> bool:
        """Whether the policy of this version may sample the run's sample `number`."""
        return self.version_of(number) - version <= self.max_staleness

    def until_end_of_step(self, number: int) -> int:
        """Samples from `number` on that are trained on in the same step as it."""
        return self.samples_per_step - number % self.samples_per_step
