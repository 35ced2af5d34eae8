"""The plots as Vega-Lite specifications, which are plain values.

Colours are the variables of the page's style sheet, so that light, dark and print need no plot
drawn anew. Texts of the data are values of fields and never names, titles or expressions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sentune.report.words import is_number

Spec = dict[str, Any]

ACCENT, QUIET, SECOND = "var(--accent)", "var(--quiet)", "var(--second)"
# Eight that are told apart by colour-blind readers (Okabe and Ito, 2008), in light and dark.
GROUPS = [f"var(--group-{number})" for number in range(1, 9)]
_MOST_GROUPS = 7
_LONG = 3  # times as wide as the first bin
_FEW_POINTS = 12  # of a curve: so many are drawn

_AXIS = {
    "domain": False,
    "ticks": False,
    "gridColor": "var(--grid)",
    "labelColor": "var(--muted)",
    "titleColor": "var(--muted)",
    "labelFontSize": 11,
    "titleFontSize": 11,
    "titleFontWeight": "normal",
    "labelPadding": 6,
    "titlePadding": 8,
}
CONFIG = {
    "background": "transparent",
    "font": "system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif",
    "view": {"stroke": None},
    "axis": _AXIS,
    "axisX": {"grid": False, "labelFlush": True, "tickCount": 6},
    "axisY": {"tickCount": 4, "titleAnchor": "end", "titleAngle": 0, "titleAlign": "left"},
    "legend": {"labelColor": "var(--text)", "labelFontSize": 12, "title": None, "orient": "top"},
}


def _spec(data: Sequence[Mapping[str, Any]], height: int, layers: list[Spec], **more: Any) -> Spec:
    return {
        "data": {"values": list(data)},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "layer": layers,
        "config": CONFIG,
        **more,
    }


def _axis(field: str, title: str | None, domain: Any = None, **axis: Any) -> Spec:
    scale: Spec = {"zero": False, "nice": domain is None}
    if domain is not None:
        scale["domain"] = domain
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": scale,
        "axis": axis,
    }


def _y(field: str, title: str | None, domain: Any = None, **axis: Any) -> Spec:
    """A vertical axis whose title stands above it and is read without turning the head."""
    place = {"titleY": -10, "titleX": 0, "titleBaseline": "bottom"}
    return _axis(field, title, domain, **place, **axis)


def _hover(**fields: tuple[str, str]) -> list[Spec]:
    """What is shown of a mark under the pointer: title=(field, format)."""
    return [
        {"field": field, "title": title.replace("_", " "), **({"format": form} if form else {})}
        for title, (field, form) in fields.items()
    ]


def _colour(field: str, colours: Sequence[str]) -> Spec:
    """The colour of each series by its number; a name could end up in an expression."""
    scale = {"domain": list(range(len(colours))), "range": list(colours)}
    return {"field": field, "type": "nominal", "scale": scale, "legend": None}


def lines(
    series: Mapping[str, Sequence[Any]],
    unit: str | None,
    *,
    form: str = ".3~f",
    main: Sequence[str] | None = None,
    height: int = 150,
    from_zero: bool = False,
) -> Spec | None:
    """Curves over steps; the main ones stand out, or all have colours of their own.

    Where there are few points they are drawn, so that a curve of one point is seen, too.
    """
    names = list(series)
    data = [
        {"s": step, "v": value, "n": name, "k": number}
        for number, (name, points) in enumerate(series.items())
        for step, value in _points(points)
    ]
    if not data:
        return None
    colour = _colour("k", _line_colours(names, main))
    # Zero is no number for the format of powers.
    label = f"datum.value === 0 ? '0' : format(datum.value, '{form}')"
    y = _y("v", unit, labelExpr=label)
    y["scale"]["zero"] = from_zero
    encoding = {"x": _axis("s", "step", tickMinStep=1), "y": y, "color": colour}
    is_alone = len(names) == 1
    shown = {} if is_alone else {"of": ("n", "")}
    hover = _hover(**shown, step=("s", ","), value=("v", form))
    chosen = [number for number, name in enumerate(names) if name in (main or ())]
    is_main = f"indexof({chosen}, datum.k) >= 0"
    thick = {"condition": {"test": is_main, "value": 2.25}, "value": 1.5}
    width = thick if main is not None else {"value": 2}
    line = {"mark": {"type": "line", "interpolate": "linear"}, "encoding": {"strokeWidth": width}}
    is_short = max(len(_points(points)) for points in series.values()) <= _FEW_POINTS
    seen = {"condition": {"param": "near", "empty": False, "value": 1}, "value": int(is_short)}
    dots = {
        "mark": {"type": "point", "filled": True, "size": 50},
        "params": [
            {
                "name": "near",
                "select": {
                    "type": "point",
                    "on": "pointerover",
                    "nearest": True,
                    "clear": "pointerout",
                },
            }
        ],
        "encoding": {"opacity": seen, "tooltip": hover},
    }
    return _spec(data, height, [line, dots], encoding=encoding)


def _points(points: Sequence[Any]) -> list[tuple[Any, Any]]:
    pairs = (point for point in points or () if isinstance(point, list) and len(point) == 2)
    return [(step, value) for step, value in pairs if is_number(step) and is_number(value)]


def _line_colours(names: Sequence[str], main: Sequence[str] | None) -> list[str]:
    if main is not None:
        return [ACCENT if name in main else QUIET for name in names]
    return [GROUPS[number % len(GROUPS)] for number in range(len(names))]


def histogram(edges: Sequence[Any], counts: Sequence[Any], limit: Any, unit: str) -> Spec | None:
    """Bars over their lengths; a line at the limit where it lies within.

    A last bin that is much wider than the others, of the few longest texts, is drawn apart from
    them and narrow; else the others would have no room.
    """
    bars = [
        {
            **{"a": low, "b": high, "from": low, "to": high - 1, "c": count},
            "cut": is_number(limit) and low >= limit,
        }
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
        if is_number(low) and is_number(high) and is_number(count)
    ]
    if not bars:
        return None
    width = bars[0]["b"] - bars[0]["a"]
    if is_long := len(bars) > 2 and bars[-1]["b"] - bars[-1]["a"] > _LONG * width:
        start = bars[-1]["a"] + width * max(1, len(bars) // 12)
        end = start + width * max(1, len(bars) // 20)
        bars[-1] |= {"a": start, "b": end, "cut": bars[-1]["cut"]}
    height = _y("c", "texts", format=",d", tickMinStep=1)
    height["scale"]["zero"] = True
    last = bars[-1 - is_long]["b"]
    labels = {"labelExpr": f"datum.value <= {last} ? datum.label : ''"}  # not in the last bin
    encoding = {
        "x": _axis("a", unit, [bars[0]["a"], bars[-1]["b"]], **labels),
        "x2": {"field": "b"},
        "y": height,
        "y2": {"datum": 0},
        "color": {"condition": {"test": "datum.cut", "value": SECOND}, "value": ACCENT},
        "tooltip": _hover(**{"from": ("from", ",")}, to=("to", ","), texts=("c", ",")),
    }
    layers: list[Spec] = [{"mark": {"type": "bar", "binSpacing": 1}, "encoding": encoding}]
    if is_long:
        layers.append(_longer(bars[-1]))
    if is_number(limit) and bars[0]["a"] <= limit <= last:
        rule = {"type": "rule", "color": "var(--text)", "strokeDash": [4, 3]}
        layers.append({"mark": rule, "encoding": {"x": {"datum": limit}}})
    return _spec(bars, 130, layers)


def _longer(bar: Mapping[str, Any]) -> Spec:
    """The word over the bar of the longest texts."""
    text = {"type": "text", "text": "longer", "dy": -6, "fontSize": 11, "color": "var(--muted)"}
    x = {"datum": (bar["a"] + bar["b"]) / 2}
    return {"mark": text, "encoding": {"x": x, "y": {"datum": bar["c"]}}}


def densities(edges: Sequence[Any], groups: Mapping[str, Sequence[Any]], top: float) -> Spec | None:
    """Shares of the pairs of each group over their similarity."""
    middles = [(low + high) / 2 for low, high in zip(edges, edges[1:], strict=False)]
    data = []
    for number, (name, counts) in enumerate(groups.items()):
        total = sum(counts) or 1
        ends = [(edges[0], counts[0], 1), (edges[-1], counts[-1], 1)]  # the line goes to the ends
        inner = [(round(x, 4), count, 0) for x, count in zip(middles, counts, strict=False)]
        data += [
            {"x": x, "v": count / total, "n": name, "o": number, "c": count, "e": is_end}
            for x, count, is_end in [ends[0], *inner, ends[1]]
        ]
    if not data:
        return None
    colour = _colour("o", group_colours(len(groups)))
    x = _axis("x", "similarity", [edges[0], edges[-1]], format=".1f")
    y = _y("v", "share of the pairs", [0, top], format=".0%")
    area = {"mark": {"type": "area", "interpolate": "monotone", "opacity": 0.18}}
    line = {"mark": {"type": "line", "interpolate": "monotone", "strokeWidth": 2}}
    hover = _hover(pairs=("n", ""), similarity=("x", ".2f"), share=("v", ".1%"))
    dots = {
        "transform": [{"filter": "datum.e === 0"}],
        "mark": {"type": "point", "filled": True, "opacity": 0, "size": 90},
        "encoding": {"tooltip": hover},
    }
    encoding = {"x": x, "y": {**y, "stack": None}, "color": colour}
    return _spec(data, 190, [area, line, dots], encoding=encoding)


def group_colours(number: int) -> list[str]:
    """Accent and second colour for two groups, the whole range for more."""
    return [ACCENT, SECOND][:number] if number <= 2 else [GROUPS[n % 8] for n in range(number)]


def mixes(rows: Sequence[Mapping[str, Any]]) -> Spec | None:
    """Gain over the share of the trained weights, with its interval."""
    data = [
        {
            "a": row.get("alpha"),
            "g": row.get("gain"),
            "l": row.get("low"),
            "h": row.get("high"),
            "w": row.get("agreement"),
            "p": "yes" if row.get("passes") else "no",
            "k": bool(row.get("is_kept")),
        }
        for row in rows
        if is_number(row.get("alpha")) and is_number(row.get("gain"))
    ]
    if len(data) < 2:
        return None
    x = _axis("a", "share of the trained weights", [0, 1], format=".0%")
    y = _y("g", "gain over the start", format="+.3~f")
    hover = _hover(
        **{"trained weights": ("a", ".0%")},
        gain=("g", "+.4f"),
        agreement=("w", ".4f"),
        **{"keeps enough": ("p", "")},
    )
    band = {
        "mark": {"type": "area", "color": ACCENT, "opacity": 0.14},
        "encoding": {"y": {**y, "field": "l"}, "y2": {"field": "h"}},
    }
    zero: Spec = {
        "mark": {"type": "rule", "color": "var(--muted)", "strokeDash": [3, 3]},
        "encoding": {"y": {"datum": 0}},
    }
    fill = {"condition": {"test": "datum.p === 'yes'", "value": ACCENT}, "value": "var(--paper)"}
    size = {"condition": {"test": "datum.k", "value": 190}, "value": 60}
    dots = {
        "mark": {"type": "point", "filled": False, "opacity": 1, "strokeWidth": 2},
        "encoding": {
            "y": y,
            "fill": fill,
            "stroke": {"value": ACCENT},
            "size": size,
            "tooltip": hover,
        },
    }
    line = {"mark": {"type": "line", "color": ACCENT, "strokeWidth": 2}, "encoding": {"y": y}}
    return _spec(data, 200, [band, zero, line, dots], encoding={"x": x})


def plane(
    points: Sequence[Sequence[float]], groups: Sequence[int], colours: Sequence[str], box: Any
) -> Spec:
    """Texts as points; the page puts the text of point `i` under the pointer."""
    data = [
        {"i": number, "x": x, "y": y, "g": group}
        for number, ((x, y), group) in enumerate(zip(points, groups, strict=True))
    ]
    data.sort(key=lambda point: -point["g"])  # the smallest groups and the others lie below
    hidden = {"axis": None}
    is_at = "datum.i === at"
    is_shown = "only < 0 || datum.g === only"
    colour = _colour("g", colours)
    encoding = {
        "x": {**_axis("x", None, box[0]), **hidden},
        "y": {**_axis("y", None, box[1]), **hidden},
        "color": colour,
        "size": {"condition": {"test": is_at, "value": 190}, "value": 26},
        "opacity": {
            "condition": [{"test": is_at, "value": 1}, {"test": is_shown, "value": 0.75}],
            "value": 0.08,
        },
        "stroke": {"condition": {"test": is_at, "value": "var(--text)"}, "value": None},
    }
    layer = {"mark": {"type": "circle", "strokeWidth": 2}, "encoding": encoding}
    params = [{"name": "at", "value": -1}, {"name": "only", "value": -1}]
    return _spec(data, 330, [layer], params=params)


def most_of(groups: Sequence[str]) -> tuple[list[str], list[int]]:
    """The names of the largest groups and, for each point, the number of its group.

    Where there are many, the small ones are one group at the end, "others".
    """
    sizes: dict[str, int] = {}
    for name in groups:
        sizes[name] = sizes.get(name, 0) + 1
    names = sorted(sizes, key=lambda name: (-sizes[name], name))
    kept = names if len(names) <= _MOST_GROUPS + 1 else names[:_MOST_GROUPS]
    number = {name: place for place, name in enumerate(kept)}
    is_whole = len(kept) == len(names)
    return kept if is_whole else [*kept, "others"], [number.get(name, len(kept)) for name in groups]
