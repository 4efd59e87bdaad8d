"""The tables of arena A's page, on an arena that nobody ran."""

from benchmarks.arena.tables import tables
from crossdistill.arena.results import arena_results
from tests.arena.simulator import arena_file, simulated, without

CLAIM = {"claim": "OPD beats SFT", "better": "dpca", "worse": "sft", "source": "a paper"}


def lines_of(*missing: str) -> dict[str, list[list[str]]]:
    """The cells of each table's lines, by its heading."""
    arena = arena_file(claims=[CLAIM])
    content = arena_results(arena, without(simulated(arena, num_problems=60), *missing), "arena.toml", "runs/arena")
    found: dict[str, list[list[str]]] = {}
    for line in tables(content).splitlines():
        if line.startswith("#"):
            found[line.lstrip("# ")] = rows = []
        elif line:
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_accuracy_of_all_pairs_side_by_side():
    rows = lines_of()["Accuracy"]
    assert rows[0] == ["", "fine", "coarse"]
    by_name = {row[0]: row[1:] for row in rows[2:]}
    assert list(by_name) == [
        "*start*",
        "dpca",
        "bpm",
        "cdm",
        "*controls*",
        "same_tokenizer",
        "seqkd",
        "sft",
        "*teacher*",
    ]
    assert all("±" in cell for cell in by_name["dpca"])
    assert all(cell.endswith("▼") for cell in by_name["cdm"])  # it loses against the reference
    assert by_name["*controls*"] == ["", ""]


def test_missing_seeds_are_counted():
    rows = lines_of("coarse/bpm/test-lr0.0003-seed3")["Accuracy"]
    [bpm] = [row for row in rows if row[0] == "bpm"]
    assert "(4 seeds)" in bpm[2] and "seeds" not in bpm[1]


def test_claims_have_an_answer_for_each_pair():
    rows = lines_of("coarse/sft/test-lr0.001-seed3")["Claims"]
    assert rows[2][0] == "OPD beats SFT: `dpca` − `sft`"
    assert rows[2][2].startswith("**win** +") and rows[2][3] == "not run"


def test_curves_mark_the_chosen_rate():
    rows = lines_of()["fine"]
    assert rows[0] == ["", "0.0001", "0.0003", "0.001"]
    by_name = {row[0]: row[1:] for row in rows[2:]}
    assert [cell.startswith("**") for cell in by_name["dpca"]] == [False, True, False]
    assert by_name["cdm"][2] == "diverged"
