"""A record with every part, made up, with a text of choice wherever a text can stand."""

import math

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "{{7*7}} {% raw %}",
    "<!--<script>",
    "line\u2028separator\u2029and\x00nothing\x1b[31m",
    "half \ud800 of a pair \udfff",
    "\u202eright to left",
    "' onmouseover='alert(3)",
    "&lt;b&gt; &amp;",
    "javascript:alert(4)",
    "datum.x); alert(5",
]


def train(text="a text"):
    """A training run; `text` is put in wherever the data's own words are shown."""
    side = [
        {"text": f"{text} {n}", "score": 0.9 - n / 10, "is_right": n == 1, "label": text}
        for n in range(3)
    ]
    query = {"query": text, "expected": text, "rank_before": 12, "rank_after": 1}
    query |= {"before": side, "after": side[::-1]}
    steps = list(range(0, 100, 10))
    curve = [[step, 1 / (1 + step)] for step in steps]
    run = {
        "loss": curve,
        "learning_rate": [[step, 2e-5 * step / 100] for step in steps],
        "figure": [[step, 0.8 + step / 1000] for step in steps],
        "tokens_per_second": [[step, 5000 + step] for step in steps],
        "padding_saved": [[step, 0.4] for step in steps],
        "parts": {f"{text} 1": curve, "second": [[step, 1.0] for step in steps]},
    }
    best = f"{text} fast"
    return {
        "version": 1,
        "kind": "train",
        "created": "2026-11-26T18:30:00",
        "command": f"sentune train '{text}'",
        "seconds": 312.5,
        "seed": 12,
        "environment": {"sentune": "0.9", "python": "3.11", "processor": text, "cores": 2},
        "data": {
            "source": [{"name": text, "sha256": "9f86d081884c7d659a2feaa0c55ad015", "rows": 5452}],
            "form": text,
            "notes": [text],
            "rows": {"train": 4300, "dev": 545, "test": 545, "dropped": 62},
            "inspection": {
                "form": "sentence and class",
                "why": text,
                "rows": 5452,
                "columns": [
                    {"name": text, "texts": 5452, "different": 5381, "scripts": {text: 0.9}}
                    | {"characters": {"mean": 50.2, "most": 230}, "languages": {"English": 1.0}}
                ],
                "lengths": {text: {"edges": [0, 5, 10], "counts": [3, 4], "limit": 256}},
                "labels": {"name": text, "kind": "class", "words": text, "different": 5}
                | {"most": [[text, 3], ["second", 2]], "fewest": [["third", 1]]},
                "problems": [{"text": text, "is_fatal": False}],
                "findings": [
                    {"kind": text, "count": 71, "rows": [3, 18], "effect": text, "advice": text}
                    | {
                        "examples": [
                            {"row": 3, "note": text, "cells": {text: text, "label": 1}}
                            | {"other": {text: "other", "label": 2}},
                            {"row": 18, "note": text, "cells": {text: text}, "other": None},
                        ]
                    },
                ],
                "losses": [{"name": text, "why": text}],
                "commands": {},
            },
        },
        "task": {"metric": f"accuracy {text}", "explanation": text, "part": "test"},
        "decision": {"kept": "trained", "reason": text, "candidate": best, "alpha": 0.7},
        "result": {
            "dev": {"before": 0.8, "after": 0.87, "gain": 0.07, "low": 0.04, "high": 0.1},
            "test": {"before": 0.812, "after": 0.861, "gain": 0.049, "low": 0.02, "high": 0.078}
            | {"rows": 545},
            "general": {"agreement": 0.991, "threshold": 0.985, "before": 0.84, "after": 0.838},
        },
        "leaderboard": [
            _candidate(best, text, 0.87, "won"),
            _candidate("start", None, 0.8, "finished") | {"gain": 0, "low": 0, "high": 0},
            _candidate(f"{text} slow", text, 0.82, "dropped"),
            _candidate("failed", text, math.nan, "failed"),
        ],
        "mixes": [
            {"alpha": alpha, "figure": 0.8 + alpha / 10, "gain": alpha / 10, "low": alpha / 20}
            | {"high": alpha / 7, "agreement": 1 - alpha / 30, "passes": alpha < 0.8}
            for alpha in (0.3, 0.5, 0.7, 0.85, 1.0)
        ],
        "curves": {best: run, f"{text} slow": run},
        "lengths": {
            text: {"edges": [0, 4, 8, 12], "counts": [3, 9, 2], "limit": 8, "truncated": 2}
        },
        "scores": {
            "edges": [0.0, 0.25, 0.5, 0.75, 1.0],
            "groups": {
                "positives": {"before": [1, 4, 6, 2], "after": [0, 1, 5, 9]}
                | {"means": {"before": 0.55, "after": 0.78}},
                text: {"before": [5, 6, 1, 0], "after": [8, 3, 1, 0]}
                | {"means": {"before": 0.3, "after": 0.21}},
            },
        },
        "queries": {"improved": [query, query], "worse": [query | {"rank_after": 30}]}
        | {"searched": 300, "among": 545, "counts": {"improved": 40, "worse": 12}},
        "neighbours": [{"text": text, "before": side, "after": side[:2]}],
        "map": {
            "before": [[math.cos(n), math.sin(n)] for n in range(60)],
            "after": [[math.cos(n) * 2, math.sin(n)] for n in range(60)],
            "texts": [f"{text} number {n}" for n in range(60)],
            "groups": [text if n % 3 else "second" for n in range(60)],
        },
        "settings": {"batch_size": 32, "learning_rate": 2e-5, text: text, "bf16": True},
        "log": [text, "Three candidates were tried."],
    }


def _candidate(name, loss, figure, state):
    return {
        "name": name,
        "loss": loss,
        "settings": {"learning_rate": 2e-5} if loss else {},
        "rounds": [{"steps": 50, "figure": figure}] if loss else [],
        "figure": figure,
        "gain": figure - 0.8,
        "low": figure - 0.83,
        "high": figure - 0.77,
        "agreement": 0.99,
        "state": state,
        "reason": loss or "",
    }


def evaluation(text="a text"):
    """Three models side by side."""
    models = [("large", 0.9), (text, 0.82), ("small", 0.815)]
    return {
        "version": 1,
        "kind": "evaluate",
        "created": "2026-11-26T18:30:00",
        "task": {"metric": "Spearman", "part": "test"},
        "models": [
            {"name": name, "path": f"models/{name}", "figure": one}
            | {"low": one - 0.02, "high": one + 0.02}
            for name, one in models
        ],
        "differences": [
            {"first": text, "second": "large", "gain": 0.08, "low": 0.05, "high": 0.11}
            | {"is_real": True},
            {"first": "small", "second": text, "gain": 0.005, "low": -0.01, "high": 0.02}
            | {"is_real": False},
        ],
    }
