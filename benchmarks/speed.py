"""Speed and memory beside sentence-transformers: one table, ratios first.

    python benchmarks/speed.py [--data FOLDER] [--model small large] [--only TEXT ...] [--rounds N]

Every library has a process of its own, kept ready. Of each row all contestants run in turn, as many
rounds as asked for, so that a slow minute slows all of them; the table has the medians. It goes to
the screen and to docs/speed.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from quality import DATA, packaged_model
from speed_tasks import (
    MEMORY,
    MEMORY_JOB,
    OWN,
    PEER,
    ROWS,
    SEARCH_LINES,
    Contestant,
    Row,
)

HERE = Path(__file__).resolve().parent
TABLE = HERE.parent / "docs" / "speed.md"
OUT = HERE / "results" / "speed.json"
MODELS = {"small": "all-MiniLM-L6-v2", "large": "BERT-base, random weights"}
# Where a model spends its arithmetic: (layers, width, width inside, multiplied parameters).
SHAPES = {"small": (6, 384, 1536), "large": (12, 768, 3072)}
STARTS = {
    "import": "import {module}",
    "cold start to the first embedding": (
        "from {module} import SentenceTransformer; "
        "SentenceTransformer({model!r}, device='cpu').encode('hello')"
    ),
}
MODULES = {OWN: "sentune", PEER: "sentence_transformers"}


def main() -> None:
    args = arguments()
    results = json.loads(args.out.read_text()) if args.out.exists() else {}
    if not args.render:
        with TemporaryDirectory() as folder:
            measure(args, Path(folder), results)
    args.table.write_text(page(results), encoding="utf-8")
    print(f"\nThe table is in {args.table}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the STS benchmark")
    parser.add_argument("--model", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--only", nargs="+", default=[""], help="rows with one of these inside")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each, of which the median")
    parser.add_argument("--out", type=Path, default=OUT, help="every figure, as JSON")
    parser.add_argument("--table", type=Path, default=TABLE, help="where the table is written")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the table")
    return parser.parse_args()


def measure(args: argparse.Namespace, folder: Path, results: dict[str, Any]) -> None:
    """Run what is wanted; each row is written to `--out` as soon as it is there."""

    def keep(key: str, value: Any) -> None:
        results[key] = value
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=1), encoding="utf-8")

    def wanted(name: str) -> bool:
        return any(part.lower() in name.lower() for part in args.only)

    keep("machine", at_its_best(machine(), results.get("machine")))
    if "small" in args.model:
        for name in filter(wanted, STARTS):
            keep(f"start: {name}", starts(name, args.rounds))
            say(f"start: {name}", results[f"start: {name}"])
    if "small" in args.model and wanted("memory"):
        keep("memory", bounded(args))
        say("memory", results["memory"])
    if "small" in args.model and wanted("search and mining"):
        keep("search", search(args))
        print(f"search and mining: {results['search']}", flush=True)
    for size in args.model:
        model = packaged_model() if size == "small" else random_bert(folder)
        for row in (row for row in ROWS if wanted(row.title(size))):
            key = f"{size}: {row.title(size)}"
            keep(key, run(row, size, model, args))
            say(key, results[key])


def worker(library: str, data: Path) -> Any:
    command = [sys.executable, str(HERE / "speed_worker.py"), library, str(data)]
    log = subprocess.DEVNULL if not os.environ.get("SPEED_LOG") else None
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
    )


def run(row: Row, size: str, model: str, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The medians of each contestant of a row; each has a process that did nothing before."""
    workers = {
        contestant: worker(contestant.library, args.data) for contestant in row.contestants()
    }
    options = row.options_for(size)
    found: dict[str, list[dict[str, float]]] = {}
    for turn in range(args.rounds):
        for contestant in row.contestants():
            job = {
                "turn": turn,
                "kind": row.kind,
                "texts": row.texts,
                "model": model,
                "dtype": contestant.dtype,
                "encode_batch_size": contestant.batch_size,
                **options,
            }
            answer = ask(workers[contestant], job)
            found.setdefault(label(contestant), []).append(answer)
    for process in workers.values():
        end(process)
    return {name: medians(answers) for name, answers in found.items()}


def medians(answers: list[dict[str, float]]) -> dict[str, float]:
    found = {key: median(answer[key] for answer in answers) for key in answers[0]}
    return {**found, "rounds": len(answers)}


def bounded(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Time and memory of a batch as it is, in mini-batches, and of a very large one."""
    found: dict[str, list[dict[str, float]]] = {}
    for turn in range(args.rounds):
        for name in MEMORY if turn == 0 else ("plain", "in mini-batches"):
            process = worker(OWN, args.data)
            job = {**MEMORY_JOB, **MEMORY[name], "model": packaged_model()}
            found.setdefault(name, []).append(ask(process, job))
            end(process)
    return {name: medians(answers) for name, answers in found.items()}


def search(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Search and mining, in a process of its own."""
    command = [sys.executable, str(HERE / "speed_search.py"), "--rounds", str(args.rounds)]
    command += ["--data", str(args.data), "--large"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def ask(process: Any, job: dict[str, Any]) -> dict[str, float]:
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a worker ended in {job}; run again with SPEED_LOG=1 to see why")
    return json.loads(line)


def end(process: Any) -> int:
    process.stdin.close()
    status = process.wait()
    process.stdout.close()
    return status


def label(contestant: Contestant) -> str:
    batch = {None: "", 0: ", best batch size"}.get(contestant.batch_size, "")
    return f"{contestant.library} {contestant.dtype or 'default'}{batch}"


def starts(name: str, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds and memory of fresh processes, taken in turn; the first of each is not counted."""
    times: dict[str, list[float]] = {OWN: [], PEER: []}
    peaks: dict[str, list[float]] = {OWN: [], PEER: []}
    for _ in range(rounds + 1):
        for library, module in MODULES.items():
            code = STARTS[name].format(module=module, model=packaged_model())
            code += "; print(open('/proc/self/status').read())" if os.path.exists("/proc") else ""
            began = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
            times[library].append(time.perf_counter() - began)
            # Not getrusage: its figure begins with that of the process which started this one.
            peak = re.search(rb"VmHWM:\s+(\d+) kB", done.stdout)
            peaks[library].append(1024 * int(peak[1]) if peak else 0)
    return {
        f"{library} default": {
            "seconds": median(times[library][1:]),
            "peak": median(peaks[library][1:]),
        }
        for library in MODULES
    }


def random_bert(folder: Path) -> str:
    """A BERT of the base size with random weights, and the small model's tokenizer."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    place = folder / "bert-base"
    BertModel(BertConfig()).save_pretrained(place)
    AutoTokenizer.from_pretrained(packaged_model()).save_pretrained(place)
    return str(place)


def machine() -> dict[str, Any]:
    """What it ran on, and how fast that multiplies matrices."""
    import torch

    found: dict[str, Any] = {
        "versions": {
            name: version(name) for name in ("torch", "transformers", "sentence-transformers")
        },
        "python": platform.python_version(),
        "name": torch.cuda.get_device_name() if torch.cuda.is_available() else _cpu(),
        "threads": torch.get_num_threads(),
        "rates": {},
    }
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(2048, 768, device=device, dtype=dtype)
        b = torch.randn(768, 3072, device=device, dtype=dtype)
        times = []
        for _ in range(20):
            began = time.perf_counter()
            a @ b
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        rate = 2 * 2048 * 768 * 3072 / min(times)
        found["rates"][str(dtype).removeprefix("torch.")] = rate
    return found


def at_its_best(found: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    """The facts of a machine with the best rates that were seen of it: others may slow a run."""
    if before is None or before["name"] != found["name"]:
        return found
    rates = {name: max(rate, before["rates"][name]) for name, rate in found["rates"].items()}
    return {**found, "rates": rates}


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "CPU")


# The table ----------------------------------------------------------------------------------------


def say(key: str, found: dict[str, dict[str, float]]) -> None:
    figures = (f"{name} {values['seconds']:.3g} s" for name, values in found.items())
    print(f"{key}: {', '.join(figures)}", flush=True)


def page(results: dict[str, Any]) -> str:
    """The document with its table, from the template."""
    facts = results["machine"]
    lines = [line for name in STARTS for line in start_lines(name, results)]
    for size, model in MODELS.items():
        for row in ROWS:
            lines += row_lines(row, size, model, results)
    values = {
        **memory_facts(results.get("memory")),
        "table": "\n".join(lines),
        "search table": "\n".join(search_lines(results.get("search", {}))),
        "machine": f"{facts['threads']} cores, {facts['name']}",
        "float32": f"{facts['rates']['float32'] / 1e9:,.0f}",
        "bfloat16": f"{facts['rates']['bfloat16'] / 1e9:,.0f}",
        "python": facts["python"],
        **{f"version of {name}": number for name, number in facts["versions"].items()},
    }
    template = (HERE / "speed.md.in").read_text(encoding="utf-8")
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def memory_facts(found: dict[str, dict[str, float]] | None) -> dict[str, str]:
    names = ("times", "plain memory", "bounded memory", "large memory", "large seconds")
    if not found:
        return dict.fromkeys(names, "?")
    plain, cut, large = (found[name] for name in MEMORY)
    return {
        "times": f"{cut['seconds'] / plain['seconds']:.2f}",
        "plain memory": f"{plain['peak'] / 1e6:,.0f}",
        "bounded memory": f"{cut['peak'] / 1e6:,.0f}",
        "large memory": f"{large['peak'] / 1e6:,.0f}",
        "large seconds": f"{large['seconds']:.0f}",
    }


def start_lines(name: str, results: dict[str, Any]) -> list[str]:
    found = results.get(f"start: {name}")
    if not found:
        return []
    goal = {"import": 20}.get(name, 2)
    own, peer = (found[f"{library} default"] for library in (OWN, PEER))
    cells = [ratio(own, peer, goal), name, "", "", seconds(own), seconds(peer), "", ""]
    return [f"| {' | '.join([*cells, memory(own, peer)])} |"]


def search_lines(found: dict[str, dict[str, float]]) -> list[str]:
    """Lines of the table of search and mining: seconds as parts of what is compared with."""
    lines = []
    for line in (line for line in SEARCH_LINES if line.group in found):
        figures = found[line.group]
        own = figures[line.own]
        product, peer = figures.get("product"), figures.get("peer")
        if line.to_product is None:
            product = None
        cells = [
            line.name,
            "float32" if "float32" in line.own else "defaults",
            f"{own:.3g} s",
            f"{product:.3g} s" if product else "",
            against(own / product, line.to_product, is_most=True) if product else "",
            f"{peer:.3g} s" if peer else "",
            against(peer / own, line.to_peer) if peer and line.to_peer else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
        if f"{line.own} mining" in figures and line.group == "sentences":
            part = figures[f"{line.own} mining"] / own
            cells = [f"{line.name}: mining alone, of that", *cells[1:2], f"{part:.1%}", *[""] * 4]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def against(value: float, goal: float, is_most: bool = False) -> str:
    """A ratio beside its goal."""
    is_met = value <= goal if is_most else value >= goal
    return f"**{value:.2f}**" if is_met else f"{value:.2f} (goal {goal:g})"


def row_lines(row: Row, size: str, model: str, results: dict[str, Any]) -> list[str]:
    found = results.get(f"{size}: {row.title(size)}")
    if not found:
        return []
    lines = []
    for (name, *both), goal in row.pairings:
        own, peer = (found[label(contestant)] for contestant in both)
        cells = [
            ratio(own, peer, goal),
            row.title(size) + rounds(own),
            model,
            name,
            seconds(own),
            seconds(peer),
            f"{own['tokens'] / own['seconds']:,.0f}",
            share(row, size, both[0], own, results["machine"]),
            memory(own, peer),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def ratio(own: dict[str, float], peer: dict[str, float], goal: float) -> str:
    times = peer["seconds"] / own["seconds"]
    # What is compared with the peer's best setting has no goal but not to lose.
    return f"**{times:.1f}x**" if times >= goal else f"{times:.2f}x (goal {goal:g}x)"


def rounds(figures: dict[str, float]) -> str:
    """How many rounds the medians are of, where they are not the usual five."""
    number = int(figures.get("rounds", 5))
    return "" if number == 5 else f" ({number} round{'s' * (number > 1)})"


def seconds(figures: dict[str, float]) -> str:
    return f"{figures['seconds']:.3g} s"


def memory(own: dict[str, float], peer: dict[str, float]) -> str:
    return f"{own['peak'] / 1e6:,.0f} / {peer['peak'] / 1e6:,.0f} MB"


def share(
    row: Row, size: str, own: Contestant, figures: dict[str, float], facts: dict[str, Any]
) -> str:
    """Useful arithmetic as a share of what the chip can do in matrix products alone."""
    import torch

    layers, width, inside = SHAPES[size]
    per_token = 2 * layers * (4 * width * width + 2 * width * inside)
    passes = 1 if row.kind == "encode" else 4 if "Cached" in row.options["loss"] else 3
    from sentune.machine.device import auto_dtype

    is_auto = own.dtype is None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = str(auto_dtype(device)).removeprefix("torch.") if is_auto else own.dtype
    rate = passes * per_token * figures["tokens"] / figures["seconds"]
    return f"{rate / facts['rates'][dtype]:.0%}"


if __name__ == "__main__":
    main()
