"""A run: sampling, teacher, training and weights, one step after the other or several steps ahead."""

from dataclasses import dataclass

from benchmarks.scaling.decode import Replica, joined
from benchmarks.scaling.hardware import H100, USUAL, Gpu, Reached
from benchmarks.scaling.parts import Gpus, gpus_of_replica, sync_seconds, teacher_seconds, training_seconds
from benchmarks.scaling.workload import Workload


@dataclass(frozen=True)
class Times:
    """Of a run of several steps.

    Attributes:
        sampled, scored, sent: of each step, the second in which it was sampled, scored, and its weights were sent.
        teacher, training, sync: seconds of each part of a step.
        tokens: that one replica sampled.
    """

    sampled: list[float]
    scored: list[float]
    sent: list[float]
    teacher: float
    training: float
    sync: float
    tokens: float

    @property
    def period(self) -> float:
        """Seconds a step in the long run."""
        third = len(self.sent) // 3  # neither the beginning counts nor the end, at which less is under way
        return (self.sent[2 * third] - self.sent[third]) / third

    @property
    def slowest(self) -> str:
        """The part that the others wait for; sampling if neither teacher nor trainer is busy all the time."""
        busy = {"teacher": self.teacher, "training": self.training + self.sync}
        name = max(busy, key=busy.__getitem__)
        return name if busy[name] > 0.97 * self.period else "rollout"


def run(
    work: Workload, gpus: Gpus, staleness: int, steps: int | None = None, gpu: Gpu = H100, reached: Reached = USUAL
) -> Times:
    """Run in events.

    Responses of step b may begin once the weights of step b - staleness - 1 have been sent: then they are at most that
    many updates old when they are trained on. Within that bound responses of several steps share a replica, in order.
    Sampling pauses while weights are sent. All replicas are like the one with the longest responses.

    Args:
        work: the run.
        gpus: of each part.
        staleness: weight updates between sampling and training, at most.
        steps: to run, at least 3; by default 12 for each that may be under way, because they end in bursts.
        gpu, reached: the hardware.

    Raises:
        ValueError: a model does not fit on its GPUs.
    """
    steps = 12 * (staleness + 1) if steps is None else steps
    size = gpus_of_replica(work.student, gpu)
    if gpus.rollout < size:
        raise ValueError(f"{work.student.name} needs {size} GPUs")
    teacher = teacher_seconds(work, gpus.teacher, gpu, reached)
    training = training_seconds(work, gpus.trainer, gpu, reached)
    sync = sync_seconds(work.student, gpu, reached)
    own = work.lengths[:: gpus.rollout // size]
    replica = Replica(work.student, joined(gpu, size), reached)
    queue = [(batch, float(length)) for batch in range(steps) for length in own][::-1]
    left = [len(own)] * steps
    now, sampled, scored, sent = 0.0, [0.0] * steps, [0.0] * steps, []
    paused = 0  # updates for which sampling has paused
    while len(sent) < steps:
        while (
            queue and _may_begin(queue[-1][0], staleness, sent, now) and replica.takes(work.prompt_tokens, queue[-1][1])
        ):
            replica.add(work.prompt_tokens, queue[-1][1], queue[-1][0])
            queue.pop()
        if not len(replica.left):
            now = max(now, sent[queue[-1][0] - staleness - 1])
            paused = sum(one <= now for one in sent)
            continue
        steps_ahead = replica.until_next_end()
        if paused < len(sent):
            steps_ahead = replica.steps_within(max(0.0, sent[paused] - sync - now))
        now += replica.seconds(steps_ahead)
        for batch in replica.advance(steps_ahead).tolist():
            left[batch] -= 1
            sampled[batch] = now
        while len(sent) < steps and not left[len(sent)]:
            number = len(sent)
            scored[number] = max(sampled[number], scored[number - 1] if number else 0.0) + teacher
            sent.append(max(scored[number], sent[-1] if number else 0.0) + training + sync)
        if paused < len(sent) and now >= sent[paused] - sync - 1e-6:
            now = max(now, sent[paused])
            paused += 1
    return Times(sampled, scored, sent, teacher, training, sync, replica.tokens)


def _may_begin(batch: int, staleness: int, sent: list[float], now: float) -> bool:
    needed = batch - staleness - 1
    return needed < 0 or (needed < len(sent) and sent[needed] <= now + 1e-6)
