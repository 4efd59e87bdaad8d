"""The paper's six benchmarks as sums: other problems of the demo's task under each name."""

from crossdistill.demo.sums import Sums


def named(name: str, seed: int) -> Sums:
    task = Sums(num_problems=20, seed=seed)
    task.name = name
    return task


aime24 = named("aime24", 24)
aime25 = named("aime25", 25)
aime26 = named("aime26", 26)
math500 = named("math500", 500)
gpqa_diamond = named("gpqa_diamond", 4)
livecodebench = named("livecodebench", 7)
