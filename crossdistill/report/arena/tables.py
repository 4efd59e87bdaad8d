"""The tables of the arena, in words and figures, as the terminal, Markdown and the page show them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossdistill.report.comparison.rows import share
from crossdistill.report.format import MISSING, count, duration, score, si, signed

Content = Mapping[str, Any]
"""Of ``arena.json`` (:func:`crossdistill.arena.results.arena_results`), or a part of it."""
Show = Callable[[Any], str]
MODELS = ("start", "teacher")
_EDGES = {"lowest": " ↓", "highest": " ↑"}
TONES = {"win": "rise", "loss": "fall"}


@dataclass(frozen=True)
class Line:
    """A row of a table.

    Attributes:
        cells: by the table's columns.
        tone: "rise" if it wins against the reference, "fall" if it loses, "quiet" if it's not done; else empty.
    """

    cells: tuple[str, ...]
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: of the table.
        columns: their names; the first is the method's.
        methods: its rows.
        controls: rows that are set apart from them.
    """

    title: str
    columns: tuple[str, ...]
    methods: list[Line]
    controls: list[Line]


def rows_of(content: Content, pair: str, kind: str) -> list[Content]:
    """The rows of a pair, the highest mean first and those that are not done last; without what the file leaves out."""
    rows = [row for row in content["rows"] if row["pair"] == pair and row["kind"] == kind and not is_left_out(row)]
    return sorted(rows, key=lambda row: (row["status"] != "done", row["mean"] is None, -(row["mean"] or 0.0)))


def is_left_out(row: Content) -> bool:
    """Whether the file does not enter a method on the row's pair."""
    return row["kind"] == "method" and row["status"] == "not run" and row["command"] is None


def ruling(content: Content, pair: str, first: str, second: str) -> str | None:
    """The verdict on one method against another on a pair; None of a method against itself."""
    mirrored = {"win": "loss", "loss": "win"}
    for verdict in content["verdicts"]:
        if verdict["pair"] == pair and {verdict["first"], verdict["second"]} == {first, second}:
            found: str = verdict["verdict"]
            return found if verdict["first"] == first else mirrored.get(found, found)
    return None


def pair_table(content: Content, pair: Content) -> Table:
    """Accuracy, gap recovery, cost and verdict of all methods on a pair; models as they are stand with the controls."""
    reach = content["rules"]["file"]["reach"]
    reaching = () if reach is None else (f"to {100 * reach:g} %",)
    columns = ("method", "rate", "seeds", "accuracy", "95 %", "gap", *reaching, "s/step")
    name = pair["pair"]
    controls = [_pair_line(content, row) for row in rows_of(content, name, "control")]
    start, teacher = (_model_line(model, pair["models"][model], len(columns) + 1) for model in MODELS)
    return Table(
        title=f"{name} ({pair['task']})",
        columns=(*columns, f"vs {pair['reference']}"),
        methods=[_pair_line(content, row) for row in rows_of(content, name, "method")],
        controls=[start, *controls, teacher],
    )


def overall_table(content: Content) -> Table:
    """Ranks, gap recovery, and wins, ties and losses over all pairs."""
    reference = content["rules"]["file"]["reference"]
    entries = content["overall"]
    ordered = sorted(entries, key=lambda entry: (entry["mean_rank"] is None, entry["mean_rank"] or 0.0))
    return Table(
        title=f"all pairs, against {reference}",
        columns=("method", "pairs", "mean rank", "mean gap", "wins", "ties", "losses", "no verdict"),
        methods=[_overall_line(entry) for entry in ordered if entry["kind"] == "method"],
        controls=[_overall_line(entry) for entry in ordered if entry["kind"] == "control"],
    )


def costs_table(content: Content, pair: str) -> Table:
    """What the runs of a pair cost, means over seeds, and what it cost to reach the accuracy that the file names."""
    reach = content["rules"]["file"]["reach"]
    reaching = () if reach is None else (f"responses to {100 * reach:g} %", "FLOPs", "time")
    columns = ("method", "responses", "student tokens", "FLOPs", "time", "s/step", *reaching)
    return _by_kind(content, pair, "cost", columns, lambda row: _cost_cells(row, reach is not None))


def side_effects_table(content: Content, pair: Content) -> Table:
    """What training did beside the accuracy, means over seeds with the difference to the start, whose row is first."""
    columns = ("method", "tokens", "cut, %", "parsed, %", "entropy", "bits per byte")
    table = _by_kind(content, pair["pair"], "side effects", columns, _side_cells)
    start = pair["models"]["start"]
    if start["status"] != "done":
        return table
    line = Line(("start", *(shown(start[name]) for name, (shown, _) in _SIDE_EFFECTS.items())))
    return Table(table.title, columns, table.methods, [line, *table.controls])


def interval(ends: Sequence[float] | None) -> str:
    """An interval of shares, in percent.

    Example:
        >>> interval([0.5, 0.75]), interval(None)
        ('50.0–75.0', '–')
    """
    return MISSING if ends is None else "–".join(map(share, ends))


def reached(entry: Content | None, cost: str = "responses") -> str:
    """The cost to reach an accuracy, or that it was not reached, which is no number."""
    shown = {"responses": count, "student_tokens": count, "flops": si, "seconds": duration}
    if entry is None:
        return MISSING
    if entry["state"] == "reached":
        return MISSING if entry[cost] is None else shown[cost](entry[cost]["mean"])
    return entry["state"] if entry["num_reached"] == 0 else f"{entry['num_reached']} of {entry['num_runs']} seeds"


def share_or_missing(value: float | None) -> str:
    """A share in percent; a dash if there is none."""
    return MISSING if value is None else share(value)


def _points(value: float) -> str:
    return signed(100 * value, 1)


_SIDE_EFFECTS: dict[str, tuple[Show, Show]] = {
    "mean_tokens": (lambda value: signed(value, 1).removeprefix("+"), lambda value: signed(value, 1)),
    "truncated": (share_or_missing, _points),
    "parsed": (share_or_missing, _points),
    "entropy": (score, lambda value: signed(value, 3)),
    "bits_per_byte": (score, lambda value: signed(value, 3)),
}
"""Side effect -> how its value and its difference to the start are shown."""


def _by_kind(
    content: Content, pair: str, title: str, columns: tuple[str, ...], cells: Callable[[Content], tuple[str, ...]]
) -> Table:
    methods, controls = (
        [Line((row["method"], *cells(row)), "" if row["status"] == "done" else "quiet") for row in of_kind]
        for of_kind in (rows_of(content, pair, "method"), rows_of(content, pair, "control"))
    )
    return Table(title, columns, methods, controls)


def _cost_cells(row: Content, has_reach: bool) -> tuple[str, ...]:
    return (
        *(count(row["responses"]), count(row["student_tokens"]), si(row["flops"]), duration(row["seconds"])),
        _seconds(row["seconds_per_step"]),
        *([reached(row["reach"], cost) for cost in ("responses", "flops", "seconds")] if has_reach else ()),
    )


def _side_cells(row: Content) -> tuple[str, ...]:
    return tuple(_side_cell(row["side_effects"][name], *shown) for name, shown in _SIDE_EFFECTS.items())


def _side_cell(effect: Content | None, shown: Show, difference: Show) -> str:
    if effect is None:
        return MISSING
    gain = "" if effect["start"] is None else f" ({difference(effect['mean'] - effect['start'])})"
    return shown(effect["mean"]) + gain


def _pair_line(content: Content, row: Content) -> Line:
    reach = content["rules"]["file"]["reach"]
    against = ruling(content, row["pair"], row["method"], content["rules"]["file"]["reference"])
    is_done = row["status"] == "done"
    return Line(
        cells=(
            row["method"],
            MISSING if row["rate"] is None else f"{row['rate']:g}{_EDGES.get(row['edge'] or '', '')}",
            _seeds(row),
            share_or_missing(row["mean"]),
            interval(row["interval"]),
            MISSING if row["gap_recovery"] is None else share(row["gap_recovery"]["mean"]),
            *(() if reach is None else (reached(row["reach"]),)),
            _seconds(row["seconds_per_step"]),
            (against or "reference") if is_done else row["status"],
        ),
        tone=TONES.get(against or "", "") if is_done else "quiet",
    )


def _model_line(name: str, model: Content, width: int) -> Line:
    is_done = model["status"] == "done"
    state = "" if is_done else model["status"]
    cells = (name, "", "", share_or_missing(model.get("mean")), interval(model.get("interval")))
    return Line((*cells, *[""] * (width - len(cells) - 1), state), tone="quiet" if state else "")


def _overall_line(entry: Content) -> Line:
    against = entry["against_reference"]
    failed = f", {entry['num_failed']} failed" if entry["num_failed"] else ""
    cells = ("reference", "", "", "") if against is None else tuple(map(str, _tally(against)))
    return Line(
        (
            entry["method"],
            f"{entry['num_done']} of {entry['num_pairs']}{failed}",
            _over(entry["mean_rank"], entry["num_ranked"], entry["num_pairs"], "{:.2f}".format),
            _over(entry["mean_gap_recovery"], entry["num_recovered"], entry["num_pairs"], share),
            *cells,
        )
    )


def _tally(against: Mapping[str, int]) -> tuple[int, int, int, int]:
    won = against["win"], against["tie"], against["loss"]
    return *won, sum(against.values()) - sum(won)


def _over(value: float | None, number: int, of_all: int, shown: Show) -> str:
    """A mean over pairs, with their number if it's not over all of them."""
    if value is None:
        return MISSING
    return shown(value) + ("" if number == of_all else f" ({number})")


def _seeds(row: Content) -> str:
    done, planned = len(row["seeds"]), row["num_seeds"]
    return str(done) if done == planned else f"{done} of {planned}"


def _seconds(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3g}"
