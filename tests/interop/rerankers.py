"""Cross-encoders go from sentune to another environment and from there to sentune: equal scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sentune import CrossEncoder
from tests.interop import pairs
from tests.interop.pairs import Case
from tests.interop.report import TOLERANCE, check, gap, run, say

PEER = Path(__file__).with_name("peer.py")
# These releases lose the activation of a CrossEncoder in its files: they set it on a config, and
# save another one, since transformers copies the config (from 4.36 on; 4.34 did not). Their own
# folders come back to them with the default, sigmoid for one label and none for several.
FORGETFUL = ("3.0.1", "3.4.1")


def exchange(python: str, release: str, room: Path) -> list[bool]:
    """Results of all comparisons with a release of sentence-transformers.

    Args:
        python: Of the environment that has it.
        release: Its version.
        room: An empty folder.
    """
    ours, theirs = room / "ours", room / "theirs"
    made = {make(case, ours): case for case in pairs.cases()}
    run(python, PEER, "score", *made)
    results = []
    for folder in made:
        found, wanted = np.load(folder / "scores.npy"), np.load(folder / "wanted.npy")
        results.append(check(f"scorer from here, read there: {folder.name}", found, wanted))
    theirs.mkdir()
    run(python, PEER, "rerankers", theirs)
    for case in pairs.cases():
        results.append(read(case, theirs / case.name, may_forget=release in FORGETFUL))
    if release in FORGETFUL:
        results.append(check_fact(release, theirs))
        results += [read(case, theirs / f"{case.name}-kept") for case in pairs.cases()]
    return results


def make(case: Case, root: Path) -> Path:
    """A folder saved by sentune, and the scores of the model in `wanted.npy`."""
    raw = root / f"raw-{case.family}-{case.labels}"
    if not raw.exists():
        pairs.make_folder(raw, case.family, case.labels)
    activation = pairs.ACTIVATIONS[case.activation]()
    model = CrossEncoder(str(raw), device="cpu", activation_fn=activation)
    folder = root / case.name
    model.save(str(folder))
    scores = model.predict(pairs.PAIRS)
    assert scores.std() > 1e-3, f"the scores of {case.name} hardly differ"
    np.save(folder / "wanted.npy", scores)
    return folder


def read(case: Case, folder: Path, *, may_forget: bool = False) -> bool:
    """Whether sentune gives the scores of the release that saved a folder."""
    wanted, again = np.load(folder / "scores.npy"), np.load(folder / "again.npy")
    found = CrossEncoder(str(folder), device="cpu").predict(pairs.PAIRS)
    what = f"scorer from there, read here: {folder.name}"
    if not (may_forget and is_forgotten(folder)):
        return check(what, found, wanted)
    # The files cannot tell; so sentune must read them as that release does, and give the scores
    # of the model that was saved when it is told the activation.
    activation = pairs.ACTIVATIONS[case.activation]()
    told = CrossEncoder(str(folder), device="cpu", activation_fn=activation).predict(pairs.PAIRS)
    is_same = check(f"{what} (known: forgotten)", found, again)
    return check(f"{what} (activation given)", told, wanted) and is_same


def is_forgotten(folder: Path) -> bool:
    """Whether the release that saved a folder has lost something of the model itself."""
    return gap(np.load(folder / "again.npy"), np.load(folder / "scores.npy")) > TOLERANCE


def check_fact(release: str, root: Path) -> bool:
    """Whether a release forgets just the activations that are not its defaults."""
    default = {1: "sigmoid", 3: "identity"}
    forgotten = [case for case in pairs.cases() if is_forgotten(root / case.name)]
    expected = [case for case in pairs.cases() if case.activation != default[case.labels]]
    is_so = forgotten == expected
    say(
        f"  {'ok  ' if is_so else 'DIFF'} known: {release} does not save the activation of a "
        f"CrossEncoder: {len(forgotten)} of {len(list(pairs.cases()))} models come back to it with "
        "its default"
    )
    return is_so
