"""An inspection as text for a terminal, and as HTML for a notebook; both from its plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from textwrap import indent, wrap
from typing import Any

from sentune.machine.screen import WIDTH, table
from sentune.record.words import clean

_BARS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_ROWS_SHOWN = 10  # numbers of rows
_EXAMPLES = 3
_LOSSES = 3
_SHARES = ("5", "50", "95", "99")  # percentiles
_CELL = 160  # characters of a cell

Plain = Mapping[str, Any]


def text(found: Plain) -> str:
    """The inspection as lines of at most 100 characters."""
    parts = (_head(found), _columns(found), _labels(found), _findings(found), _start(found))
    return "\n\n".join("\n".join(lines) for lines in map(list, parts) if lines)


def _head(found: Plain) -> Iterator[str]:
    source = f"{found['source']}: " if found["source"] else ""
    yield f"{source}{_count(found['rows'], 'row')}"
    if found["form"]:
        yield from wrap(f"Form: {found['form']}, because {found['why']}.", WIDTH)
    else:
        yield from wrap(f"Form: none, because {found['why']}.", WIDTH)
    for problem in found["problems"]:
        word = "error" if problem["is_fatal"] else "warning"
        yield from wrap(f"{word}: {problem['text']}", WIDTH, subsequent_indent="  ")
    for note in found["notes"]:
        yield from wrap(f"note: {note}", WIDTH, subsequent_indent="  ")


def _columns(found: Plain) -> Iterator[str]:
    if not found["columns"]:
        return
    unit = next(iter(found["lengths"].values()))["unit"]
    shares = [f"{share}%" for share in _SHARES]
    head = ["Column", "different", *shares, "longest", "truncated"]
    rows = []
    for column in found["columns"]:
        sizes = found["lengths"][column["name"]]
        longest = sizes["percentiles"]["100"]
        percentiles = [f"{sizes['percentiles'][p]:,}" for p in _SHARES]
        truncated = f"{sizes['truncated']:,}" if sizes["limit"] else "-"
        different = f"{column['different']:,}"
        rows.append([clean(column["name"], 30), different, *percentiles, f"{longest:,}", truncated])
    yield f"Texts, and their lengths in {unit}:"
    yield from table(head, rows).splitlines()
    limit = next(iter(found["lengths"].values()))["limit"]
    if limit:
        yield f"  truncated: texts longer than the {limit} tokens that the model reads"
    counted = min(found["lengths"][column["name"]]["counted"] for column in found["columns"])
    if counted < found["rows"]:
        yield f"  lengths and truncated: of {counted:,} texts of each column, evenly spread"
    for column in found["columns"]:
        sizes = found["lengths"][column["name"]]
        bars = histogram(sizes["counts"])
        ends = f"{sizes['edges'][0]:,} {bars} {sizes['edges'][-1] - 1:,} {unit}"
        yield f"  {clean(column['name'], 30)}: {ends}; {_languages(column)}"


def _languages(column: Plain) -> str:
    scripts = [f"{share:.0%} {name}" for name, share in column["scripts"].items()]
    languages = [f"{share:.0%} {name}" for name, share in column["languages"].items()]
    shown = ", ".join(scripts[:3]) or "no letters"
    return f"{shown} letters; looks like {', '.join(languages[:3])}" if languages else shown


def histogram(counts: Sequence[int]) -> str:
    """Counts as a line of bars; what is not 0 can be seen."""
    most = max(counts, default=0)
    return "".join(_BARS[0 if not n else max(1, round(8 * n / most))] for n in counts)


def _labels(found: Plain) -> Iterator[str]:
    labels = found["labels"]
    if not labels:
        return
    missing = f"; {_count(labels['missing'], 'row')} without one" if labels.get("missing") else ""
    yield f"Labels in {labels['name']!r}: {labels['words']}{missing}"
    if "low" not in labels:
        return
    if labels["kind"] == "score":
        bars = histogram(labels["counts"])
        yield f"  {labels['low']:g} {bars} {labels['high']:g}; mean {labels['mean']:g}, " + (
            f"{labels['different']:,} different, {labels['ties']:.0%} of the rows share theirs"
        )
        return
    shown = ", ".join(f"{name} ({count:,})" for name, count in labels["most"])
    word = "most rows: " if labels["fewest"] else ""
    yield from wrap(f"{word}{shown}", WIDTH, initial_indent="  ", subsequent_indent="    ")
    if labels["fewest"]:
        shown = ", ".join(f"{name} ({count:,})" for name, count in labels["fewest"])
        yield from wrap(f"fewest: {shown}", WIDTH, initial_indent="  ", subsequent_indent="    ")


def _findings(found: Plain) -> Iterator[str]:
    findings = found["findings"]
    if not findings:
        yield "Nothing is wrong with single rows, as far as can be seen."
        return
    harmful = len({row for each in findings if each["is_harmful"] for row in each["rows"]})
    yield f"Found in single rows (--write-clean would remove {_count(harmful, 'row')}):"
    head = ["Finding", "rows", "share", "remove"]
    yield from table(head, [_summary(each, found["rows"]) for each in findings]).splitlines()
    for each in findings:
        yield ""
        yield f"{each['kind'].capitalize()}: {_count(each['count'], 'row')}, {_numbers(each)}"
        yield from wrap(each["effect"], WIDTH, initial_indent="  ", subsequent_indent="  ")
        words = f"What to do: {each['advice']}"
        yield from wrap(words, WIDTH, initial_indent="  ", subsequent_indent="  ")
        for example in each["examples"][:_EXAMPLES]:
            yield from _example(example)


def _summary(finding: Plain, rows: int) -> list[str]:
    share = f"{finding['count'] / rows:.1%}"
    return [finding["kind"], f"{finding['count']:,}", share, "yes" if finding["is_harmful"] else ""]


def _numbers(finding: Plain) -> str:
    shown = ", ".join(map(str, finding["rows"][:_ROWS_SHOWN]))
    return shown + (" ..." if finding["count"] > _ROWS_SHOWN else "")


def _example(example: Plain) -> Iterator[str]:
    row = f"row {example['row']}"
    place = "" if example["place"] == row else f" ({clean(example['place'], _CELL)})"
    yield f"    {row}{place}: {clean(example['note'], _CELL)}"
    for name, cell in example["cells"].items():
        other = (example["other"] or {}).get(name, cell)
        yield f"      {name}: {_cell(cell)}"
        if other != cell:
            yield f"      {' ' * len(name)}| {_cell(other)}"


def _cell(cell: Any) -> str:
    """A cell in one line."""
    return "(empty)" if cell is None else clean(cell, _CELL) or "(empty)"


def _start(found: Plain) -> Iterator[str]:
    if not found["losses"]:
        return
    yield "Losses that fit, the best first:"
    for loss in found["losses"][:_LOSSES]:
        words = f"{loss['name']}: {loss['why']}"
        yield from wrap(words, WIDTH, initial_indent="  ", subsequent_indent="    ")
    others = ", ".join(loss["name"] for loss in found["losses"][_LOSSES:])
    if others:
        yield from wrap(f"also: {others}", WIDTH, initial_indent="  ", subsequent_indent="    ")
    yield ""
    is_refused = any(problem["is_fatal"] for problem in found["problems"])
    yield "When the errors above are mended, start with" if is_refused else "Start with"
    yield indent(found["commands"]["command"], "  ")
    yield "or in Python"
    yield indent(found["commands"]["python"], "  ")


def _count(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def html(found: Plain) -> str:
    """The inspection as HTML: a table of findings, each of which opens; all cells are escaped."""
    head = "<br>".join(escape(line) for line in _head(found))
    columns, labels = ("\n".join(part) for part in (_columns(found), _labels(found)))
    losses = "".join(
        f"<li><b>{escape(loss['name'])}</b>: {escape(loss['why'])}</li>" for loss in found["losses"]
    )
    code = found["commands"].get("python", "")
    blocks = [
        f"<p>{head}</p>",
        _pre(columns),
        _pre(labels),
        *(_details(finding, found["rows"]) for finding in found["findings"]),
        f"<p>Losses that fit, the best first:</p><ol>{losses}</ol>" if losses else "",
        _pre(code),
    ]
    return f"<div class='sentune-inspection'>{''.join(blocks)}</div>"


def _pre(text: str) -> str:
    return f"<pre>{escape(text)}</pre>" if text else ""


def _details(finding: Plain, rows: int) -> str:
    share = f"{finding['count'] / rows:.1%}"
    title = f"{finding['kind']}: {_count(finding['count'], 'row')} ({share})"
    cells = "".join(
        f"<tr><td>{example['row']}</td><td>{escape(clean(example['note'], _CELL))}</td>"
        + "".join(f"<td>{escape(_cell(cell))}</td>" for cell in example["cells"].values())
        + "</tr>"
        for example in finding["examples"]
    )
    names = finding["examples"][0]["cells"] if finding["examples"] else {}
    head = "".join(f"<th>{escape(clean(name))}</th>" for name in ("row", "what is wrong", *names))
    return (
        f"<details><summary>{escape(title)}</summary>"
        f"<p>{escape(finding['effect'])} {escape(finding['advice'])}</p>"
        f"<p>rows {escape(_numbers(finding))}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table></details>"
    )
