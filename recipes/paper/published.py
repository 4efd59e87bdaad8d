"""The paper's own figures, from ``published.toml``."""

import tomllib
from dataclasses import dataclass
from functools import cache

from recipes.paper.settings import FOLDER

SOURCE = (
    'Rows named "paper" are the figures that the text of Breaking the Tokenizer Barrier prints (tables 1 to 3, section '
    "5.3), without intervals."
)


@dataclass(frozen=True)
class Published:
    """All in percent; the last of each list is the average over the benchmarks.

    Attributes:
        benchmarks: names of the tasks.
        titles: of the columns.
        scores: pair -> method -> accuracies.
        gains: pair -> gains of distillation over SFT.
        sft_extrapolated: data points that SFT would need in addition.
        data_share: of distillation, of these.
        efficiency: FLOPs of these over those of distillation.
        sft, opd: data points -> accuracy on AIME24; those of distillation without what its start had seen.
    """

    benchmarks: tuple[str, ...]
    titles: tuple[str, ...]
    scores: dict[str, dict[str, tuple[float, ...]]]
    gains: dict[str, tuple[float, ...]]
    sft_extrapolated: int
    data_share: float
    efficiency: float
    sft: dict[int, float]
    opd: dict[int, float]


@cache
def published() -> Published:
    """The paper's figures."""
    found = tomllib.loads((FOLDER / "published.toml").read_text(encoding="utf-8"))
    compute = found["compute"]
    return Published(
        tuple(found["benchmarks"]),
        tuple(found["titles"]),
        {pair: {name: tuple(row) for name, row in methods.items()} for pair, methods in found["scores"].items()},
        {pair: tuple(row) for pair, row in found["gains"].items()},
        compute["sft_extrapolated"],
        compute["data_share"],
        compute["efficiency"],
        dict(compute["sft"]),
        dict(compute["opd"]),
    )
