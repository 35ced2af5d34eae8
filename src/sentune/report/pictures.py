"""The parts of a record that are shown as plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sentune.report import charts
from sentune.report.plain import within
from sentune.report.tables import dicts, numbers, part, rows_of, side_names
from sentune.report.words import count, figure, is_number, named, share, title

Record = dict[str, Any]

_MOST_POINTS = 4000  # on the map
_OF_A_MIX = ("name", "alpha", "figure", "gain", "low", "high", "agreement", "passes")
_HOVER = 300  # characters of a text under the pointer
_LABEL = 60  # of its group
_HOVER_BYTES = 600_000  # of all of these
_COLUMNS = 8
# Of a run: name in the record, heading, what it says, format of its values, whether from 0.
_CURVES = (
    ("loss", "Loss", "what training makes small", ".3~f", False),
    ("figure", "Dev figure", "on rows that are not trained on", ".3f", False),
    ("grad_norm", "Size of the gradient", "how steep the loss is", ".3~f", True),
    ("learning_rate", "Learning rate", "how far a step goes", ".1e", True),
    ("tokens_per_second", "Tokens per second", "speed of training", ",.0f", True),
    (
        "padding_saved",
        "Padding saved",
        "how much of padded batches would be empty",
        ".0%",
        True,
    ),
)


def course(record: Record) -> Any:
    """The dev figures of all candidates over their steps, from the start on."""
    rows = {str(one.get("name")): one for one in dicts(record.get("leaderboard"))}
    first = rows.pop("start", {}).get("figure")
    start = [[0, first]] if is_number(first) else []
    runs = _runs(record)
    series = {
        name: [*start, *(found or [[one["steps"], one["figure"]] for one in _rounds(row)])]
        for name, row in rows.items()
        if isinstance(found := runs.get(name, {}).get("figure") or [], list)
    }
    series = {name: points for name, points in series.items() if len(points) > 1}
    if not series:
        return None
    kept = [name for name in members(record) if name in series]
    main = kept or [name for name in [_best(record, series)] if name]
    shown = {named(name): points for name, points in series.items()}
    return charts.lines(shown, None, form=".3f", main=[named(name) for name in main], height=220)


def _rounds(row: Record) -> list[Record]:
    rounds = rows_of(row.get("rounds"), "steps", "figure")
    return [one for one in rounds if is_number(one["steps"]) and is_number(one["figure"])]


def _runs(record: Record) -> Record:
    found = record.get("curves")
    found = found if isinstance(found, dict) else {}
    return {name: one for name, one in found.items() if isinstance(one, dict)}


def members(record: Record) -> list[str]:
    """The candidates whose weights were kept: one, or those of an average; none for the start."""
    chosen = part(record, "decision", "candidate")
    if not isinstance(chosen, str):
        return []
    for row in dicts(record.get("leaderboard")):
        if row.get("name") == chosen and row.get("is_average"):
            of = row.get("of")
            return [str(name) for name in of] if isinstance(of, list) else []
    return [chosen]


def _best(record: Record, names: Any) -> str | None:
    """The candidate with the highest figure."""
    rows = [one for one in dicts(record.get("leaderboard")) if str(one.get("name")) in names]
    ranked = sorted(rows, key=lambda one: -(one.get("figure") or 0))
    return str(ranked[0]["name"]) if ranked else next(iter(names), None)


def curves(record: Record) -> tuple[str | None, list[Record]]:
    """The curves of the candidate that was kept, and its name."""
    runs = _runs(record)
    name = next((one for one in members(record) if one in runs), _best(record, runs))
    if name is None:
        return None, []
    run = runs[name]
    found = []
    for key, heading, says, form, from_zero in _CURVES:
        points = run.get(key)
        if isinstance(points, list):
            spec = charts.lines(
                {heading: points}, None, form=form, main=[heading], from_zero=from_zero
            )
            found += _plot(f"curve-{key}", heading, says, spec)
    parts = run.get("parts")
    if isinstance(parts, dict) and len(parts) > 1:
        series = {str(one): points for one, points in parts.items() if isinstance(points, list)}
        legend = list(zip(series, charts.GROUPS, strict=False))
        spec = charts.lines(series, None)
        found[1:1] = _plot(
            "curve-parts", "Parts of the loss", "what it is the sum of", spec, legend
        )
    return name, found


def _plot(key: str, heading: str, says: str, spec: Any, legend: Any = ()) -> list[Record]:
    if spec is None:
        return []
    return [{"id": key, "heading": heading, "says": says, "spec": spec, "legend": list(legend)}]


def mixes(record: Record) -> tuple[list[Record], Any]:
    """The mixes that were looked at, and their plot."""
    rows = rows_of(record.get("mixes"), *_OF_A_MIX)
    alpha, candidate = (part(record, "decision", name) for name in ("alpha", "candidate"))
    for row in rows:
        row["name"] = str(row["name"] or candidate or "")
        is_own = row["name"] == str(candidate or "")
        row["is_kept"] = is_number(alpha) and row["alpha"] == alpha and is_own
    rows.sort(key=lambda row: (row["name"], row["alpha"] if is_number(row["alpha"]) else 0))
    of_kept = [row for row in rows if row["name"] == str(candidate)] or [
        row for row in rows if row["name"] == rows[0]["name"]
    ]
    return rows, charts.mixes(of_kept)


def lengths(record: Record) -> list[Record]:
    """A histogram of tokens for each column, with a sentence."""
    found = record.get("lengths") or part(record, "data", "inspection", "lengths")
    plots = []
    for number, (name, one) in enumerate((found if isinstance(found, dict) else {}).items()):
        one = one if isinstance(one, dict) else {}
        edges, counts = (numbers(one.get(key)) for key in ("edges", "counts"))
        unit = str(one.get("unit") or "tokens")
        spec = charts.histogram(edges, counts, one.get("limit"), unit)
        if number < _COLUMNS:
            plots += _plot(f"length-{number}", str(name), _length_words(one), spec)
    return plots


def _length_words(one: Record) -> str:
    total = sum(numbers(one.get("counts")))
    limit, cut = one.get("limit"), one.get("truncated")
    if not is_number(limit):
        return f"{count(total)} texts."
    if not is_number(cut) or not cut:
        return f"{count(total)} texts; none is longer than the model reads ({count(limit)} tokens)."
    part_of = share(cut / total) if total else ""
    return (
        f"{count(total)} texts; {count(cut)} of them ({part_of}) are longer than the model reads "
        f"({count(limit)} tokens), and what is beyond is not seen."
    )


def scores(record: Record) -> tuple[list[Record], list[Record]]:
    """Two panels of score distributions, and the groups in them with colour and means."""
    edges, groups = numbers(part(record, "scores", "edges")), part(record, "scores", "groups")
    if not isinstance(groups, dict) or len(edges) < 2:
        return [], []
    groups = dict(list(groups.items())[:_COLUMNS])
    sides = {
        side: {
            title(name): counts
            for name, one in groups.items()
            if sum(counts := numbers(part(one, side))) > 0
        }
        for side in side_names(record)
    }
    heights = [max(counts) / sum(counts) for one in sides.values() for counts in one.values()]
    if not heights:
        return [], []
    panels = [
        {"id": f"scores-{side}", "name": side, "spec": spec}
        for side, one in sides.items()
        if (spec := charts.densities(edges, one, max(heights) * 1.08))
    ]
    names = list(dict.fromkeys(name for one in sides.values() for name in one))
    means = {title(name): part(one, "means") for name, one in groups.items()}
    colours = charts.group_colours(len(names))
    legend = [
        {
            "name": name,
            "colour": colour,
            "means": [figure(part(means[name], side), 2) for side in sides],
        }
        for name, colour in zip(names, colours, strict=False)
    ]
    return panels, legend


def planes(record: Record) -> Record | None:
    """Two maps in one frame, the texts for the pointer, and the legend."""
    found = record.get("map")
    texts = part(found, "texts")
    sides = {name: _coordinates(part(found, name)) for name in side_names(record)}
    if not isinstance(texts, list) or not texts:
        return None
    sides = {name: points[:_MOST_POINTS] for name, points in sides.items() if points}
    if not sides or any(len(points) != len(texts[:_MOST_POINTS]) for points in sides.values()):
        return None
    size = len(next(iter(sides.values())))
    given = part(found, "groups")
    has_groups = isinstance(given, list) and len(given) >= size
    own = (
        ["" if name is None else str(name) for name in given[:size]] if has_groups else [""] * size
    )
    names, groups = charts.most_of(own)
    colours = [*charts.GROUPS[: len(names)]] if len(names) > 1 else [charts.ACCENT]
    if len(names) > 1 and names[-1] == "others":
        colours[-1] = charts.QUIET
    box = [_ends([point[axis] for points in sides.values() for point in points]) for axis in (0, 1)]
    specs = {
        f"map-{name}": charts.plane(points, groups, colours, box) for name, points in sides.items()
    }
    legend = list(zip(names, colours, strict=True)) if len(names) > 1 else []
    kept = within([str(text) for text in texts[:size]], _HOVER, _HOVER_BYTES)
    labels = within(own, _LABEL, _HOVER_BYTES // 4)
    shown = [[text, label] for text, label in zip(kept, labels, strict=True)]
    return {"specs": specs, "hover": shown, "map_sides": list(sides), "map_legend": legend}


def _coordinates(points: Any) -> list[list[float]]:
    if not isinstance(points, list):
        return []
    return [
        point
        if isinstance(point, list) and len(point) == 2 and all(map(is_number, point))
        else [0, 0]
        for point in points
    ]


def _ends(numbers: Sequence[float]) -> list[float]:
    low, high = min(numbers), max(numbers)
    room = (high - low) * 0.04 or 1.0
    return [low - room, high + room]
