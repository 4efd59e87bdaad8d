"""Tokens per second of the alignment on one core, compared with TRL GOLD's aligner, the definition and a floor.

OMP_NUM_THREADS=1 python -m benchmarks.alignment --student models/tokenizers/qwen3 --teacher models/tokenizers/gemma-3

Without tokenizers, two small ones are trained on the same texts. Tokens of both sides count. Every round times each
method in turn, in one process and in its own CPU seconds, so that other work on the machine does not count. The floor
is the running sum (numpy.cumsum) of both arrays of token lengths: without it there are no ends.
"""

import gc
import os
import platform
import pydoc_data.topics
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from trl.experimental.gold.gold_trainer import ULDLoss

from crossdistill import ByteVocab, align
from crossdistill.align.alignment import align_batch
from crossdistill.runs.run_file import write_json
from tests.oracles.alignment import pieces_of, synchronised

SIZES = (128, 1_000, 16_000, 128_000)  # tokens of the student
BATCH_TOKENS = 128_000  # of the student, in all responses of a batch
DEFINITION_MAX_TOKENS = 1_000  # the definition compares every prefix with every prefix, as bytes
MIN_SECONDS = 0.01  # of one sample
CHINESE = (
    "今天的天气很好，我们去公园散步。",
    "这道题的答案是{}，请写出计算过程。",
    "小明有{}个苹果，他给了小红{}个。",
    "机器学习模型需要大量的数据和计算资源。",
    "首先把两个数相加，然后再除以{}。",
    "他在北京大学学习了{}年的历史。",
    "如果你愿意的话，我可以再解释一遍。",
    "春天来了，花园里的花都开了。",
    "请注意：函数的第{}个参数不能为空！",
)

GOLD, GOLD_ALONE = "gold", "gold, collector off"

Method = Callable[[], Any]


class Ends(NamedTuple):
    """Two tokenisations of the same bytes, as the ends of their tokens.

    Attributes:
        student: int64.
        teacher: int64.
    """

    student: np.ndarray
    teacher: np.ndarray

    @property
    def num_tokens(self) -> int:
        return len(self.student) + len(self.teacher)


def texts(num_bytes: int) -> dict[str, str]:
    """English prose and code that come with Python, and Chinese sentences: at least `num_bytes` bytes of each."""
    rng = Random(0)  # noqa: S311 - reproducible, not secret
    chinese = (rng.choice(CHINESE).format(rng.randint(1, 999), rng.randint(1, 99)) for _ in range(10_000))
    modules = sorted(Path(timeit.__file__).parent.glob("[a-d]*.py"))
    whole = {
        "English": "\n".join(pydoc_data.topics.topics.values()),
        "Chinese": "".join(chinese),
        "code": "\n".join(path.read_text(encoding="utf-8") for path in modules),
    }
    return {name: text * (num_bytes // len(text.encode()) + 1) for name, text in whole.items()}


def tokenised(text: str, student: ByteVocab, teacher: ByteVocab, num_tokens: int) -> Ends:
    """The first `num_tokens` tokens of the student, and the teacher's tokens of the same bytes."""
    ids = student.encode(text[: 16 * num_tokens]).ids[:num_tokens]
    return Ends(student.ends(ids), teacher.encode(student.decode(ids)).ends)


def adversarial(num_tokens: int) -> dict[str, Ends]:
    """Tokenisations unlike those of real pairs: common ends at the last byte only, at every byte, or by chance."""
    rng = np.random.default_rng(0)
    every, end = np.arange(1, num_tokens + 1), 4 * num_tokens + 1
    splits = (np.append(np.flatnonzero(rng.random(end - 1) < 0.25) + 1, end) for _ in range(2))
    return {
        "boundaries never meet": Ends(np.append(2 * every - 1, 2 * num_tokens), 2 * every),
        "a token a byte, both": Ends(every, every),
        "random cuttings": Ends(*splits),
        "a token a byte against 64 bytes": Ends(every, np.append(every[63:-1:64], num_tokens)),
    }


def methods(ends: Ends, data: bytes) -> dict[str, tuple[Method, int]]:
    """Name -> the method to time and the number of tokens that one call reads."""
    lengths = [np.diff(side, prepend=0) for side in ends]
    rows = max(1, BATCH_TOKENS // len(ends.student))
    batch = [[side.copy() for _ in range(rows)] for side in ends]
    offsets = [list(zip([0, *side[:-1].tolist()], side.tolist(), strict=True)) for side in ends]
    _check(ends, offsets)
    found: dict[str, Method] = {
        "cumsum": lambda: [np.cumsum(side) for side in lengths],
        "sum": lambda: [np.sum(side) for side in lengths],
        "align": lambda: align(*ends),
        "cumsum and align": lambda: align(*(np.cumsum(side) for side in lengths)),
        "align_batch": lambda: align_batch(*batch),
        "align in a loop": lambda: [align(*row) for row in zip(*batch, strict=True)],
        GOLD: lambda: ULDLoss._align_by_byte_offsets(*offsets),
        GOLD_ALONE: lambda: ULDLoss._align_by_byte_offsets(*offsets),
    }
    if len(ends.student) <= DEFINITION_MAX_TOKENS:
        pieces = [pieces_of(data, side.tolist()) for side in ends]
        found["definition"] = lambda: synchronised(*pieces)
    return {
        name: (method, ends.num_tokens * (rows if name in ("align_batch", "align in a loop") else 1))
        for name, method in found.items()
    }


def _check(ends: Ends, offsets: list[list[tuple[int, int]]]) -> None:
    """Check that GOLD and this package find the same chunks, so that the same work is timed."""
    groups = ULDLoss._align_by_byte_offsets(*offsets)
    alignment = align(*ends)
    assert [group[-1] + 1 for group in groups[0]] == alignment.student_splits[1:].tolist()
    assert [group[-1] + 1 for group in groups[1]] == alignment.teacher_splits[1:].tolist()


def nanoseconds(named: dict[str, tuple[Method, int]], rounds: int) -> dict[str, np.ndarray]:
    """Nanoseconds per token of each method, one value per round."""
    # Python's garbage collector runs, as in training; it costs GOLD time, which makes two lists per chunk
    timers = {
        name: timeit.Timer(method, "" if name == GOLD_ALONE else "gc.enable()", time.process_time, {"gc": gc})
        for name, (method, _) in named.items()
    }
    once = {name: timer.timeit(1) for name, timer in timers.items()}  # also warms up
    calls = {name: max(1, int(MIN_SECONDS / min(once[name], timers[name].timeit(1)))) for name in timers}
    samples: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            samples[name].append(timer.timeit(calls[name]) / calls[name] / named[name][1] * 1e9)
    return {name: np.array(values) for name, values in samples.items()}


def row(text: str, ends: Ends, data: bytes, rounds: int) -> dict[str, Any]:
    """One line of the table."""
    spent = nanoseconds(methods(ends, data), rounds)
    median = {name: float(np.median(values)) for name, values in spent.items()}
    return {
        "text": text,
        "student_tokens": len(ends.student),
        "teacher_tokens": len(ends.teacher),
        "bytes": int(ends.student[-1]),
        "chunks": align(*ends).num_chunks,
        "million_tokens_per_second": {name: 1e3 / value for name, value in median.items()},
        "spread": {  # from the 10th to the 90th percentile of the rounds, as a share of the median
            name: float((np.quantile(values, 0.9) - np.quantile(values, 0.1)) / median[name])
            for name, values in spent.items()
        },
        "times_gold": median[GOLD] / median["align"],
        "times_gold_collector_off": median[GOLD_ALONE] / median["align"],
        "of_floor": median["align"] / median["cumsum"],
        "of_floor_with_the_sum": median["cumsum and align"] / median["cumsum"],
        "of_plain_sum": median["align"] / median["sum"],
    }


def rows(student: ByteVocab, teacher: ByteVocab, rounds: int) -> Iterator[dict[str, Any]]:
    for name, text in texts(16 * max(SIZES)).items():
        for size in SIZES:
            ends = tokenised(text, student, teacher, size)
            yield row(name, ends, text.encode()[: int(ends.student[-1])], rounds)
    for size in SIZES:
        for name, ends in adversarial(size).items():
            yield row(name, ends, bytes(int(ends.student[-1])), rounds)


def trained(text: str, num_entries: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE with `num_entries` entries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=num_entries, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def tokenizer_of(path: Path | None, num_entries: int) -> PreTrainedTokenizerFast:
    if path is None:
        return trained("".join(text[:300_000] for text in texts(1).values()), num_entries)
    folder = path if path.is_dir() else path.parent
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    tokenizer.name_or_path = str(folder)  # the cache of vocabularies finds the file by it
    return tokenizer


def build_seconds(path: Path | None, num_entries: int, rounds: int) -> dict[str, Any]:
    """Seconds to build a ByteVocab, with and without its cache on disk, without loading the tokenizer."""
    seconds: dict[str, list[float]] = {"anew": [], "cached": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, setting in (("anew", "off"), ("cached", folder)):
                os.environ["CROSSDISTILL_CACHE"] = setting
                if name == "cached":
                    ByteVocab.from_tokenizer(tokenizer_of(path, num_entries))  # fills the cache in the first round
                tokenizer = tokenizer_of(path, num_entries)
                start = time.process_time()
                vocab = ByteVocab.from_tokenizer(tokenizer)
                seconds[name].append(time.process_time() - start)
        is_cached = any(Path(folder).iterdir())
    return {
        "entries": len(vocab),
        "kind": vocab.kind,
        "seconds": float(np.median(seconds["anew"])),
        "seconds_from_cache": float(np.median(seconds["cached"])) if is_cached else None,
    }


def show(lines: list[dict[str, Any]]) -> Table:
    table = Table(
        "text", "tokens", "ours, M/s", "loop", "batch", "GOLD", "x GOLD", "GC off", "of the floor", "+ cumsum"
    )
    for line in lines:
        speed = line["million_tokens_per_second"]
        table.add_row(
            line["text"],
            f"{line['student_tokens']:,} + {line['teacher_tokens']:,}",
            *(f"{speed[name]:.1f}" for name in ("align", "align in a loop", "align_batch", GOLD)),
            *(f"{line[name]:.0f}" for name in ("times_gold", "times_gold_collector_off")),
            f"{line['of_floor']:.1f}",
            f"{line['of_floor_with_the_sum']:.1f}",
        )
    return table


def main(
    student: Annotated[Path | None, typer.Option(exists=True, help="tokenizer.json, or its folder.")] = None,
    teacher: Annotated[Path | None, typer.Option(exists=True, help="tokenizer.json, or its folder.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Times to measure everything.")] = 15,
    output: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
) -> None:
    """Measure the alignment's speed."""
    load_before = os.getloadavg()[0]
    paths = {"student": (student, 8_000), "teacher": (teacher, 2_000)}
    build = {side: build_seconds(*settings, rounds=min(rounds, 5)) for side, settings in paths.items()}
    ours, theirs = (ByteVocab.from_tokenizer(tokenizer_of(*settings)) for settings in paths.values())
    lines = list(rows(ours, theirs, rounds))
    Console().print(show(lines))
    Console().print(build)
    if output is not None:
        names = {side: str(path or "trained here") for side, (path, _) in paths.items()}
        given = " ".join(f"--{side} {name}" for side, name in names.items() if paths[side][0] is not None)
        machine = {
            "processor": f"{platform.machine()}, {os.cpu_count()} cores",
            "load_before": load_before,
            "load_after": os.getloadavg()[0],
            "versions": {name: version(name) for name in ("numpy", "trl", "tokenizers")}
            | {"python": platform.python_version()},
        }
        command = f"OMP_NUM_THREADS=1 python -m benchmarks.alignment {given} --rounds {rounds} --output {output}"
        write_json(output, {"command": command, "machine": machine, "vocabularies": build, "rows": lines})


if __name__ == "__main__":
    typer.run(main)
