"""`sentune encode`: the texts of a file into a .npy file, or a corpus into shards of a folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sentune.cli._arguments import MODEL, STANDARD, add_odd, at_least, rows
from sentune.cli._output import note

HELP = "encode the texts of a file, or of a corpus of any size, into embeddings"
DESCRIPTION = (
    "Encode texts with a model. A single file of texts becomes one .npy file with a row per text; "
    "with -o a corpus of any size becomes a folder of shards with ids, texts and metadata, made by "
    "as many processes as you start, and the same command again goes on where it was stopped."
)
EXAMPLES = """
sentune encode questions.csv questions.npy --column question
cat lines.txt | sentune encode - - > lines.npy
sentune encode corpus/ -o vectors/ --precision float16 --device cuda:0 cuda:1
"""

_PARTS = 10  # lines of progress, where there is no terminal
_PART = 256  # texts, at least
_LARGEST_PART = 8_192  # texts, so that those of a large file say something soon

# Options of a corpus, which a single file does not have.
_OF_A_CORPUS = ("id_column", "per", "shard_rows", "format", "shards", "workers", "ray")
# Precisions that a part of the texts can be brought to by itself.
_BY_ROW = ("float32", "float16", "binary", "ubinary")
_ALL = ("float32", "float16", "int8", "uint8", "binary", "ubinary")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "source",
        help="csv, tsv, json, jsonl, parquet, arrow or txt file, a folder of them, or an address "
        "as s3://... or hf://datasets/OWNER/NAME. Without -o also Hub id of a dataset, or - for "
        "standard input, a text per line",
    )
    parser.add_argument(
        "output",
        nargs="?",
        help="file for the embeddings, a row per text (.npy); - for standard output",
    )
    parser.add_argument(
        "-o",
        "--output-dir",
        metavar="DIR",
        help="folder, or s3://..., for the embeddings in shards with ids, texts and metadata; the "
        "same command again goes on where it was stopped",
    )
    parser.add_argument(
        "--split",
        metavar="NAME",
        help="part to read of a dataset, or of a folder with files as train.jsonl and test.jsonl "
        "(default: train; with -o all files of such a folder)",
    )
    _add_model(parser.add_argument_group("how to encode"))
    add_odd(parser.add_argument_group("without -o"))
    _add_corpus(parser.add_argument_group("with -o"))


def _add_model(group: Any) -> None:
    group.add_argument(
        "--model",
        metavar="PATH_OR_ID",
        default=MODEL,
        help="folder or Hub id of the model",
    )
    group.add_argument(
        "--column",
        metavar="NAME",
        help="column with the texts (default: text, else the first whose texts have several words)",
    )
    group.add_argument("--prompt-name", metavar="NAME", help="prompt of the model, e.g. query")
    group.add_argument("--prompt", metavar="TEXT", help="prompt to put before each text")
    group.add_argument(
        "--batch-size",
        type=at_least(1),
        metavar="N",
        help="texts per batch (default: chosen automatically, by tokens, for speed)",
    )
    group.add_argument("--normalize", action="store_true", help="scale each embedding to length 1")
    group.add_argument(
        "--truncate-dim", type=at_least(1), metavar="N", help="keep the first N dimensions"
    )
    group.add_argument(
        "--precision",
        choices=_ALL,
        default="float32",
        help="type of the numbers; int8 and uint8 with -o only",
    )
    group.add_argument(
        "--dtype", choices=("auto", "float32", "bfloat16", "float16"), help="what to compute in"
    )
    group.add_argument(
        "--device",
        nargs="+",
        metavar="D",
        help="where to compute, e.g. cuda:1; several start a process each: cpu cpu",
    )


def _add_corpus(group: Any) -> None:
    group.add_argument(
        "--id-column", metavar="NAME", help="column with the ids (default: id or _id, if unique)"
    )
    group.add_argument(
        "--per", choices=("line", "file"), help="file: each text file of a folder is one document"
    )
    group.add_argument(
        "--shard-rows", type=at_least(1), metavar="N", help="rows per shard (default: 50,000)"
    )
    group.add_argument(
        "--format",
        choices=("parquet", "npy"),
        help="parquet (the default), or .npy with the other columns in a parquet file beside it",
    )
    group.add_argument(
        "--workers", type=at_least(1), metavar="N", help="processes, on the CPU or on --device"
    )
    group.add_argument(
        "--shards",
        metavar="I/N",
        help="do only a share of the shards: 3/8 is the third of eight",
    )
    group.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="HOST:PORT",
        help="by the machines of a Ray cluster: the one at this address, or that this machine is "
        "in; local for a new one of this machine alone",
    )


def run(args: argparse.Namespace) -> None:
    """Encode the texts and write the file or the shards."""
    from sentune.errors import SettingError

    if (args.output is None) == (args.output_dir is None):
        raise SettingError(
            "give either a file for the embeddings, as in `sentune encode texts.csv out.npy`, or "
            "a folder for shards, as in `sentune encode texts.csv -o out`"
        )
    if args.output_dir is not None and not args.output_dir.strip():
        raise SettingError("-o is empty; name a folder for the shards, as in -o vectors")
    if args.output_dir is not None and args.source == STANDARD:
        raise SettingError(
            "shards are made of a file or folder, which can be read again after a stop; write "
            "standard input to a file first"
        )
    if args.output_dir is not None:
        _check_corpus(args)
        _shards(args)
    else:
        _file(args)


# A corpus into shards -----------------------------------------------------------------------------


def _shards(args: argparse.Namespace) -> None:
    from sentune.bulk.encode import run as run_job
    from sentune.bulk.job import CorpusOptions, Job, Settings
    from sentune.bulk.share import Share
    from sentune.data.corpus import SHARD_ROWS

    settings = Settings(
        format=args.format or "parquet",
        prompt_name=args.prompt_name,
        prompt=args.prompt,
        precision=args.precision,
        truncate_dim=args.truncate_dim,
        normalize=args.normalize,
        batch_size=args.batch_size,
    )
    reading = CorpusOptions(
        args.column, args.id_column, args.per or "line", args.shard_rows or SHARD_ROWS, args.split
    )
    what = (args.source, args.model, args.output_dir, settings, reading, args.dtype)
    if args.ray is not None:
        _on_ray(args, what)
        return
    share = Share.parse(args.shards) if args.shards else Share.of_environment()
    devices = _devices(args)
    job = Job.start(*what, devices[0] if devices else None)
    is_first = args.shards is not None or share.index == 0  # of those that torchrun started
    progress = sys.stderr if is_first else None
    work = lambda: run_job(job, devices=devices, share=share, progress=progress)
    _carry_out(args, job, work, is_first)


def _on_ray(args: argparse.Namespace, what: tuple[Any, ...]) -> None:
    from sentune.bulk.ray import connected
    from sentune.errors import SettingError

    if args.shards:
        raise SettingError("--ray hands out all shards itself; leave out --shards or --ray")
    if len(args.device or ()) > 1:
        raise SettingError("--ray finds the devices itself; give --device cuda or --device cpu")
    device = args.device[0] if args.device else None
    with connected(args.ray or None, args.workers, device) as cluster:
        job = cluster.start(*what)
        _carry_out(args, job, lambda: cluster.run(job, sys.stderr))


def _carry_out(
    args: argparse.Namespace, job: Any, work: Callable[[], Any], is_told: bool = True
) -> None:
    """Do what is missing of a job, and say what is there before and after."""
    if is_told:
        _introduce(job, args.source)
    try:
        summary = work()
    except KeyboardInterrupt:
        total = len(job.corpus.shards)
        raise KeyboardInterrupt(
            f"Stopped. {_of(total - len(job.missing()), total)} in {args.output_dir}; the same "
            "command goes on from there."
        ) from None
    if is_told:
        _conclude(job, summary, args.output_dir)


def _devices(args: argparse.Namespace) -> tuple[str, ...]:
    from sentune.bulk.encode import devices_of
    from sentune.errors import SettingError

    if args.workers is None:
        return devices_of(args.device)
    if args.device is not None and len(args.device) > 1:
        raise SettingError(
            "--workers is how many processes --device has; name one device, not "
            f"{len(args.device)}, or leave out --workers"
        )
    return devices_of([args.device[0] if args.device else "cpu"] * args.workers)


def _introduce(job: Any, source: str) -> None:
    from sentune.machine.screen import say

    corpus = job.corpus
    total = len(corpus.shards)
    columns = f"texts in column {corpus.text!r}" if corpus.plan["asked"]["per"] == "line" else ""
    ids = f"ids in column {corpus.id!r}" if corpus.id else "ids by file"
    words = [_count(len(corpus), "row"), _count(total, "shard"), columns, ids]
    say(f"{source}: {', '.join(word for word in words if word)}")
    for remark in corpus.notes:
        say(f"note: {remark}")
    there = total - len(job.missing())
    if 0 < there < total:
        say(f"going on: {_of(there, total)} there")


def _conclude(job: Any, summary: Any, output: str) -> None:
    from sentune.bulk.encode import totals
    from sentune.errors import DatasetError
    from sentune.machine.screen import say

    if summary.missing:
        say(
            f"{_count(summary.rows, 'embedding')} of dimension {summary.dimension} added to "
            f"{output}; {_of(len(summary.missing), summary.shards)} still missing"
        )
        return
    done, failed = totals(job)
    if not done:
        raise DatasetError(
            f"none of {_count(failed, 'text')} could be encoded; {output}/shard-*.errors.jsonl "
            "says why. Name the column with the texts (--column)"
        )
    say(
        f"{_count(done, 'embedding')} of dimension {summary.dimension} in "
        f"{_count(summary.shards, 'shard')} in {output}"
    )
    if failed:
        say(
            f"{_count(failed, 'text')} could not be encoded; {output}/shard-*.errors.jsonl "
            "names them and says why"
        )


def _of(number: int, total: int) -> str:
    return f"{number:,} of {_count(total, 'shard')} {'is' if number == 1 else 'are'}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


# A file into an array -----------------------------------------------------------------------------


def _file(args: argparse.Namespace) -> None:
    import numpy as np

    from sentune.bulk.encode import devices_of
    from sentune.encoder.runner import check_width, warning_at_end
    from sentune.encoder.sentence_transformers import SentenceTransformer

    _check_single(args)
    with ExitStack() as stack:
        file, name = _output(args, stack)  # raises before the work starts
        texts = _texts(args)
        options = {
            "prompt_name": args.prompt_name,
            "prompt": args.prompt,
            "batch_size": args.batch_size,
            "normalize_embeddings": args.normalize,
            "truncate_dim": args.truncate_dim,
            "precision": "float32" if args.precision == "float16" else args.precision,
        }
        devices = devices_of(args.device) or (None,)
        model = SentenceTransformer(args.model, device=devices[0], dtype=args.dtype)
        check_width(model, args.truncate_dim)
        if len(devices) > 1:
            options["pool"] = stack.enter_context(model.start_multi_process_pool(devices))
        with warning_at_end():
            parts = list(_embeddings(model, texts, options))
        embeddings = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if args.precision == "float16":
            embeddings = embeddings.astype(np.float16)
        _save(file, embeddings, name)
    found = f"{embeddings.shape[0]:,} embeddings of dimension {embeddings.shape[1]} in {name}"
    print(found, file=sys.stderr if args.output == STANDARD else sys.stdout, flush=True)


def _check_corpus(args: argparse.Namespace) -> None:
    """Refuse what has no meaning for a corpus."""
    from sentune.errors import SettingError

    if args.skip_bad_rows is not None:
        raise SettingError(
            "--skip-bad-rows is for a single file; with -o rows that cannot be encoded are left "
            "out, and named in DIR/shard-*.errors.jsonl"
        )
    if args.encoding is not None:
        raise SettingError(
            "--encoding is for a single file; with -o the encoding of each text file is detected "
            "(in object storage it must be UTF-8). Convert a file with `iconv -f NAME -t UTF-8`"
        )


def _check_single(args: argparse.Namespace) -> None:
    """Refuse what has no meaning for a single file."""
    from sentune.errors import SettingError

    given = [name for name in _OF_A_CORPUS if getattr(args, name) is not None]
    if given:
        option = "--" + given[0].replace("_", "-")
        raise SettingError(f"{option} is for a corpus; give -o DIR in place of an output file")
    if args.precision not in _BY_ROW:
        raise SettingError(
            f"--precision {args.precision} needs ranges, which are kept with shards; give -o DIR "
            f"in place of an output file, or one of {', '.join(_BY_ROW)}"
        )


def _texts(args: argparse.Namespace) -> list[str]:
    """The texts of the column that is asked for, else of the likeliest; others are not read."""
    from sentune.data.read import column
    from sentune.data.text_column import TEXT, text_columns
    from sentune.machine.screen import quiet_bars

    name = args.column
    if name is None and args.source == STANDARD:
        name = TEXT
    elif name is None:
        with quiet_bars():
            name, *others = text_columns(args.source, args.split or "train", args.encoding)
        if others:
            note(f"the texts are those of column {name!r}; --column takes {' or '.join(others)}")
    return column(rows(args, columns=[name]), name)


class _Pipe:
    """A stream as numpy can write to it, which else asks a file where it is."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, content: bytes) -> None:
        """Write some bytes."""
        self._stream.write(content)

    def flush(self) -> None:
        """Write what is left."""
        self._stream.flush()


def _output(args: argparse.Namespace, stack: ExitStack) -> tuple[Any, str]:
    """What can be written to, until the stack ends, and its name."""
    from sentune.disk import files
    from sentune.errors import SettingError

    if args.output == STANDARD:
        if not hasattr(sys.stdout, "buffer") or sys.stdout.isatty():
            raise SettingError("embeddings are no text to show; redirect the output: - > file.npy")
        return _Pipe(sys.stdout.buffer), "standard output"
    path = _path_of(args.output)
    _check_other_files(args, path)
    try:
        file = stack.enter_context(files.opened(path, through_links=True))
    except OSError as error:
        raise SettingError(f"{path} cannot be written: {error.strerror or error}") from error
    return _Pipe(file) if _is_special(path) else file, str(path)


def _path_of(name: str) -> Path:
    """The file for the embeddings that a name means."""
    from sentune.errors import MissingFolderError, SettingError

    given = Path(name)
    path = given if name.endswith(".npy") or _is_special(given) else Path(f"{name}.npy")
    if not name or name.endswith("/") or given.is_dir() or path.is_dir():
        what = f"{path if path.is_dir() else name} is a folder" if name else "the name is empty"
        raise SettingError(
            f"the embeddings cannot be written: {what}; name a file, as embeddings.npy, or give "
            "-o DIR for shards in a folder"
        )
    if not path.parent.is_dir():
        raise MissingFolderError(
            f"the folder {path.parent} does not exist; create it, or choose another path"
        )
    return path


def _is_special(path: Path) -> bool:
    """Whether something is there that is neither a file nor a folder, as /dev/null or a pipe."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _check_other_files(args: argparse.Namespace, path: Path) -> None:
    """Refuse to write over what is read, or over the rows that are left out."""
    from sentune.data.corpus_files import File
    from sentune.data.raw import FORMATS
    from sentune.data.write import check_no_source
    from sentune.errors import SettingError

    skipped = args.skip_bad_rows
    target = path.resolve()
    if isinstance(skipped, str) and Path(skipped).resolve() == target and not _is_special(path):
        raise SettingError(
            f"{path} cannot have both the embeddings and the rows that are left out; name another "
            "file for one of them"
        )
    # Of a folder, files of other endings are not read.
    is_read = not Path(args.source).is_dir() or File(target.name, "", 0).ending in FORMATS
    if args.source != STANDARD and is_read:
        check_no_source(path, [args.source])


def _save(file: Any, embeddings: Any, name: str) -> None:
    import numpy as np

    from sentune.errors import OutputError

    try:
        np.save(file, embeddings)
        file.flush()
    except OSError as error:
        if isinstance(file, _Pipe):
            raise
        raise OutputError(
            f"{name} cannot be written: {error.strerror or error}; what was there before is kept"
        ) from error


def _embeddings(model: Any, texts: list[str], options: dict[str, Any]) -> Iterator[Any]:
    """The embeddings in parts; progress is a bar on a terminal, else a line for each part."""
    from sentune.machine.screen import Progress

    is_shown = sys.stderr.isatty()
    size = len(texts) if is_shown else min(max(_PART, -(-len(texts) // _PARTS)), _LARGEST_PART)
    progress = None if is_shown else Progress("Encoding", len(texts), "texts", sys.stderr)
    for start in range(0, len(texts), size):
        part = texts[start : start + size]
        yield model.encode(part, show_progress_bar=is_shown, **options)
        if progress is not None:
            progress.show(start + len(part))
