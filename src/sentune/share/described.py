"""What was recorded, in the words and tables that templates of cards ask for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from textwrap import indent
from typing import Any

from sentune.data.statistics import Column
from sentune.record.run import DatasetFacts, Result, Run

_ROWS = 3  # of a dataset that are shown
_LONGEST = 1000  # characters of a text that are shown
_DIGITS = 4
_HEADS = ("Epoch", "Step", "Training Loss", "Validation Loss")


def duration(seconds: float) -> str:
    """A time in words, with one digit after the point: "23.0 minutes"."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} seconds"


def rounded(value: Any) -> Any:
    """A value as tables show it: floating numbers with four digits."""
    return round(value, _DIGITS) if isinstance(value, float) else value


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as a Markdown table, all columns to the left; "" for none."""
    return _aligned(rows).replace("-:|", "--|")


def _aligned(rows: Sequence[Mapping[str, Any]]) -> str:
    """The same with numbers to the right."""
    from transformers.modelcard import make_markdown_table  # it takes time to import

    return str(make_markdown_table(list(rows))) if rows else ""


def full_name(value: Any) -> str:
    """Module and name of the class of a value."""
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def as_code(settings: Mapping[str, Any]) -> str:
    """Settings as a block of JSON, indented as a part of a list."""
    return indent(f"```json\n{json.dumps(settings, indent=4, default=str)}\n```", "  ")


def dataset(found: DatasetFacts, loss: Any = None) -> dict[str, Any]:
    """What is said of a dataset, under the names of templates."""
    names = [column.name for column in found.columns if column.name != "dataset_name"]
    said: dict[str, Any] = {
        "name": found.name or None,
        "columns": [f"<code>{n}</code>" for n in names],
    }
    said |= {"size": found.size} if found.size is not None else {}
    said |= {"id": found.hub_id} if found.hub_id else {}
    said |= {"revision": found.revision} if found.revision else {}
    cells = {column.name: [row[n] for row in found.rows] for n, column in enumerate(found.columns)}
    said["stats"] = {
        column.name: _statistics(column, cells[column.name])
        for column in found.columns
        if column.name in names
    }
    said["stats_table"] = indent(table(_lines(said["stats"])), "  ") if names else ""
    said["examples"] = {name: cells[name][:_ROWS] for name in names}
    rows = [
        dict(zip(names, row, strict=True)) for row in zip(*said["examples"].values(), strict=True)
    ]
    shown = [{name: f"<code>{_cell(value)}</code>" for name, value in row.items()} for row in rows]
    said["examples_table"] = indent(table(shown), "  ")
    if loss is not None:
        said["loss"] = {"fullname": full_name(loss)}
        tell = getattr(loss, "get_config_dict", None)
        if tell is not None:
            said["loss"]["config_code"] = as_code({k: _setting(v) for k, v in tell().items()})
    return said


def _setting(value: Any) -> Any:
    """A setting of a loss; of a model or loss among them its name, base and own settings."""
    if not hasattr(value, "parameters"):
        return value
    base = getattr(getattr(value, "model_card_data", None), "base_model", None)
    words = [repr(base)] if hasattr(value, "model_card_data") else []
    words += ["trust_remote_code=True"] if getattr(value, "trust_remote_code", False) else []
    own = value.get_config_dict() if hasattr(value, "get_config_dict") else {}
    words += [f"{name}={part!r}" for name, part in own.items()]
    return f"{type(value).__name__}({', '.join(words)})" if words else type(value).__name__


def _statistics(column: Column, cells: Sequence[Any]) -> dict[str, Any]:
    """Type, modality and statistics of a column."""
    first = next((cell for cell in cells if cell is not None), None)
    if column.kind == "text":
        spread, unit = (
            (column.tokens, "tokens") if column.tokens.count else (column.sizes, "characters")
        )
        data = {"min": spread.low, "mean": spread.mean, "max": spread.high}
        told = {name: f"{round(value, 2)} {unit}" for name, value in data.items()}
        return {"dtype": "string", "modality": "text", "data": told}
    sizes = column.sizes
    if column.kind == "list":
        span = {"min": f"{sizes.low}", "mean": f"{sizes.mean:.2f}", "max": f"{sizes.high}"}
        told = {"size": f"{sizes.low}"} if sizes.low == sizes.high else span
        told = {name: f"{size} elements" for name, size in told.items()}
        return {"dtype": "list", "modality": "", "data": told}
    if column.kind != "number":
        return {"dtype": column.kind, "modality": "", "data": {}}
    if column.counts:
        about, total = "~" if len(column.counts) > 1 else "", sum(column.counts.values())
        shares = {n: f"{about}{count / total:.2%}" for n, count in sorted(column.counts.items())}
        return {"dtype": type(first).__name__, "modality": "", "data": shares}
    numbers = {"min": sizes.low, "mean": sizes.mean, "max": sizes.high}
    data = {name: round(value, 2) for name, value in numbers.items()}
    return {"dtype": type(first).__name__, "modality": "", "data": data}


def _lines(columns: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The statistics of all columns as rows of a table."""
    lists = {
        name: "".join(f"<li>{key}: {value}</li>" for key, value in found["data"].items())
        for name, found in columns.items()
    }
    return [
        {"": "type", **{name: found["dtype"] for name, found in columns.items()}},
        {"": "modality", **{name: found["modality"] for name, found in columns.items()}},
        {
            "": "details",
            **{name: f"<ul>{text}</ul>" if text else "" for name, text in lists.items()},
        },
    ]


def _cell(value: Any) -> str:
    if isinstance(value, list) and len(value) > 5:
        return f"{str(value[:5])[:-1]}, ...]"
    text = (
        f"{value[:_LONGEST]}..." if isinstance(value, str) and len(value) > _LONGEST else str(value)
    )
    return text.replace("\n", "<br>").replace("|", "\\|")


def evaluations(found: Mapping[Any, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What evaluators found, evaluator -> metrics; those of a kind share a table."""
    groups: dict[Any, dict[str, Any]] = {}
    for evaluator, metrics in found.items():
        name, values, primary = without_name(evaluator, metrics)
        tell: Any = getattr(evaluator, "get_config_dict", dict)
        settings = tell() or {}
        cells = {
            f"**{metric}**" if metric == primary else metric: f"**{rounded(value)}**"
            if metric == primary
            else rounded(value)
            for metric, value in values.items()
        }
        said = {
            "class_name": full_name(evaluator),
            "description": evaluator.description,
            "config_code": as_code(settings) if settings else "",
        }
        key = (*said.values(), *cells)
        columns = groups.setdefault(key, {**said, "columns": {}})["columns"]
        columns[name] = cells
    return [_grouped(group) for group in groups.values()]


def _grouped(group: dict[str, Any]) -> dict[str, Any]:
    columns = group.pop("columns")
    names = list(columns)
    heads = names if len(names) > 1 else ["Value"]
    rows = [
        {"Metric": metric, **{h: columns[n][metric] for h, n in zip(heads, names, strict=True)}}
        for metric in columns[names[0]]
    ]
    return {**group, "dataset_name": names if len(names) > 1 else names[0], "table": table(rows)}


def without_name(
    evaluator: Any, metrics: Mapping[str, Any]
) -> tuple[str | None, dict[str, Any], str | None]:
    """Name of an evaluator, and its metrics and the one that counts without the name in front."""
    name, primary = getattr(evaluator, "name", None), getattr(evaluator, "primary_metric", None)
    plain = {key: v.item() if hasattr(v, "dtype") else v for key, v in metrics.items()}
    start = f"{name}_"
    if name and all(key.startswith(start) for key in plain):
        plain = {key.removeprefix(start): value for key, value in plain.items()}
        primary = primary.removeprefix(start) if isinstance(primary, str) else primary
    return name, plain, primary


def logs(runs: Sequence[Run], results: Iterable[Result]) -> list[dict[str, Any]]:
    """Losses and deciding metrics of each step that logged any; then of results outside of runs."""
    rows: dict[tuple[int, int], dict[str, Any]] = {}

    def note(number: int, epoch: Any, step: int, values: Mapping[str, Any]) -> None:
        if values:
            rows.setdefault((number, step), {"Epoch": epoch, "Step": step}).update(values)

    for number, run in enumerate(runs):
        for entry in run.log:
            if "step" in entry and "train_loss" not in entry:  # which sums up the run
                note(number, entry.get("epoch"), entry["step"], _losses(entry))
    inside = {id(result): number for number, run in enumerate(runs) for result in run.results}
    every = [result for run in runs for result in run.results]
    every += [result for result in results if id(result) not in inside]
    for result in every:
        if result.primary in result.metrics:
            name = f"{result.name}_{result.primary}" if result.name else str(result.primary)
            value = {name: result.metrics[str(result.primary)]}
            note(inside.get(id(result), len(runs)), result.epoch, result.step, value)
    return [rows[key] for key in sorted(rows)]


def _losses(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The losses in an entry of a log, under the heads of the table."""
    held_out = {
        key.removeprefix("eval_").replace("_", " "): value
        for key, value in entry.items()
        if key.startswith("eval_") and key.endswith("_loss")
    }
    if list(held_out) == ["loss"]:
        held_out = {"Validation Loss": held_out["loss"]}
    return ({"Training Loss": entry["loss"]} if "loss" in entry else {}) | held_out


def log_table(rows: Sequence[Mapping[str, Any]], best: int | None) -> str:
    """The log as a table, the step that is kept in bold."""
    found = dict.fromkeys(name for row in rows for name in row)
    others = [name for name in found if name not in _HEADS]
    order = [name for name in _HEADS if name in found]
    order += sorted(others, key=lambda name: not name.endswith("loss"))  # losses first
    return _aligned(
        [
            {
                name: f"**{rounded(row[name]) if name in row else '-'}**"
                if row["Step"] == best
                else row.get(name, "-")
                for name in order
            }
            for row in rows
        ]
    )
