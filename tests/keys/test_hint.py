"""What is said of a key that does not exist."""

import pytest

from crossdistill.keys.hint import hint
from crossdistill.keys.table import Table

SAMPLING = Table("train", "crossdistill.eval.sampling", "Sampling")
OPTIONS = Table("", "crossdistill.eval.task", "TaskOptions")
OTHER = Table("other.NAME", "crossdistill.eval.sampling", "Sampling")
TABLES = (OPTIONS, SAMPLING, OTHER)


@pytest.mark.parametrize(
    ("name", "path", "tables", "said"),
    [
        ("temperature", "", (OPTIONS, SAMPLING), "did you mean 'train.temperature'?"),
        ("temperature", "", TABLES, "did you mean 'train.temperature' or 'other.NAME.temperature'?"),
        ("limit", "train", TABLES, "did you mean 'limit' at the top of the file?"),
        ("temprature", "", (OPTIONS, SAMPLING), "did you mean 'train.temperature'?"),
        ("temprature", "train", TABLES, "did you mean 'temperature'?"),
        ("xyzzy", "", TABLES, "--keys lists them all"),
    ],
)
def test_hints(name, path, tables, said):
    known = {table.path: table.names for table in tables}[path]
    assert hint(name, known, path, tables) == said
