"""Texts of files stay texts: readers of tables make numbers, times and nulls of those that look so."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from crossdistill.json_rows import json_rows


def cells_as_text(path: Path) -> dict[str, Any]:
    """Options of ``load_dataset`` under which every cell of a CSV file is a text.

    Args:
        path: of the file.

    Raises:
        ValueError: its headings cannot be read.
    """
    import pandas as pd
    from datasets import Features, Value

    headings = pd.read_csv(path, nrows=0).columns
    return {"features": Features({name: Value("string") for name in headings}), "keep_default_na": False}


def dates_as_text(rows: Any, path: Path) -> Any:
    """The rows of a JSON file, in which no text has become a time.

    Arrow makes times of a column whose texts are all dates, and cannot be told not to: such a file is read again.

    Args:
        rows: a ``datasets.Dataset``, as Arrow reads the file.
        path: of the file.
    """
    from datasets import Dataset, Features

    features = Features({name: _as_text(feature) for name, feature in rows.features.items()})
    if features == rows.features:
        return rows
    read = json_rows(path.read_text(encoding="utf-8-sig"))
    return Dataset.from_dict({name: [row.get(name) for row in read] for name in features}, features=features)


def _as_text(feature: Any) -> Any:
    """A feature with texts in place of times, at any depth."""
    from datasets import Value

    if isinstance(feature, dict):
        return {name: _as_text(one) for name, one in feature.items()}
    if isinstance(feature, list):
        return [_as_text(one) for one in feature]
    if isinstance(feature, Value):
        return Value("string") if feature.dtype.startswith("timestamp") else feature
    return replace(feature, feature=_as_text(feature.feature)) if hasattr(feature, "feature") else feature
