"""Mining on uneven data: blocks of queries, duplicates, NaN, ties; against a plain loop."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset

from sentune.errors import InputError, InputTypeError
from sentune.search import MiningReport, candidates, mine_hard_negatives
from sentune.search.limits import Limits
from sentune.search.same import plain
from tests.fake_encoder import FakeEncoder, sentences

ANSWERS = [*sentences(60, words=4), "", "W1, w2!", "w1 w2"]
ANSWERS[20] = ANSWERS[19]
QUESTIONS = [f"{text} w1" for text in ANSWERS]
QUESTIONS[10:14] = [QUESTIONS[9]] * 4  # one question, five answers
QUESTIONS[30], ANSWERS[30] = QUESTIONS[29], ANSWERS[29]  # the same row again
QUESTIONS[40] = ""
ROWS = {"q": QUESTIONS, "a": ANSWERS}
CORPUS = [*sentences(50, seed=5), "", ANSWERS[3].upper(), *(ANSWERS[7] + "!" * n for n in range(9))]


class Coarse(FakeEncoder):
    """Scores that are whole numbers and often equal."""

    def __init__(self):
        super().__init__(width=6, similarity_fn_name="dot", is_coarse=True)

    def encode(self, texts, normalize_embeddings=False, **options):
        return super().encode(texts, **options)


class Broken(FakeEncoder):
    """Has no numbers for some texts."""

    def vector(self, text):
        return super().vector(text) * (np.nan if "w7" in text else 1)


def mine(rows=ROWS, model=None, **options):
    options = {"corpus": CORPUS, "verbose": False, "num_negatives": 2, **options}
    return mine_hard_negatives(Dataset.from_dict(rows), model or FakeEncoder(), **options)


def by_a_loop(rows, model, corpus, count, last, max_score=np.inf, margin=None, judge=None):
    """Triplets, one pair of texts at a time."""
    documents = list(dict.fromkeys([*corpus, *rows["a"]]))
    found = []
    for query in dict.fromkeys(rows["q"]):
        pairs = zip(rows["q"], rows["a"], strict=True)
        positives = list(dict.fromkeys(a for q, a in pairs if q == query))
        out = {plain(text) for text in (query, *positives)}
        options = {"normalize_embeddings": True}
        vector = model.encode_query([query], **options)
        near = []
        for place, text in enumerate(documents):
            score = float(model.similarity(vector, model.encode([text], **options)))
            if plain(text) not in out and score == score:
                near.append((-score, place, text))
        of_positives = model.encode(positives, **options)
        lowest = model.similarity(vector, of_positives).min()  # NaN if one is
        left = [
            text
            for score, _, text in sorted(near)
            if -score <= max_score and (margin is None or -score + margin <= lowest)
        ][:last]
        found += [(query, positive, text) for positive in positives for text in left[:count]]
    return found


@pytest.mark.parametrize("kind", [FakeEncoder, Coarse, Broken])
@pytest.mark.parametrize("options", [{}, {"max_score": 0.8}, {"absolute_margin": 0.25}])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_negatives_are_those_of_a_plain_loop(kind, options):
    rows = mine(model=kind(), range_max=150, **options).to_dict()
    margin, most = options.get("absolute_margin"), options.get("max_score", np.inf)
    expected = by_a_loop(ROWS, kind(), CORPUS, 2, 150, most, margin)
    found = list(zip(rows["q"], rows["a"], rows["negative"], strict=True))
    assert len(found) > 20
    assert found == expected


def sizes_of(monkeypatch):
    sizes = []
    allowed = Limits.allowed

    def watched(self, found, *args):
        sizes.append(found.scores.size)
        return allowed(self, found, *args)

    monkeypatch.setattr(Limits, "allowed", watched)
    return sizes


@pytest.mark.parametrize("output_format", ["triplet", "n-tuple", "labeled-pair", "labeled-list"])
@pytest.mark.parametrize(
    "options",
    [
        {"range_max": 20},
        {"sampling_strategy": "random", "range_max": 12, "max_score": 0.9},
        {"include_positives": True},
        {"cross_encoder": lambda pairs: [len(q) - len(d) for q, d in pairs], "max_score": 9.0},
    ],
    ids=lambda options: ",".join(options),
)
@pytest.mark.parametrize("exclude_same_text", [True, False])
def test_blocks_change_nothing_and_bound_the_memory(
    monkeypatch, options, output_format, exclude_same_text
):
    options = {**options, "output_format": output_format, "output_scores": True}
    options |= {"output_report": True, "exclude_same_text": exclude_same_text}
    found = []
    for most in (candidates.MOST_CANDIDATES, 100):
        monkeypatch.setattr(candidates, "MOST_CANDIDATES", most)
        sizes = sizes_of(monkeypatch)
        random.seed(3)
        found.append(mine(**options))
    assert len(sizes) > 5 and max(sizes) <= 100
    (whole, report), (parts, other) = found
    assert len(whole) > 10
    assert list(whole.features) == list(parts.features)
    for name in whole.features:
        if name.startswith("score"):  # of tiles of other shapes the last bit may differ
            flat = [
                np.concatenate([np.ravel(row) for row in side[name]]) for side in (whole, parts)
            ]
            assert flat[0] == pytest.approx(flat[1], abs=1e-6)
        else:
            assert whole[name] == parts[name]
    for side, scores in report.scores.items():
        assert scores == pytest.approx(other.scores[side], abs=1e-6)
    assert replace(report, scores={}) == replace(other, scores={})


def test_memory_does_not_grow_with_queries_times_candidates():
    """A query with many copies of its text among the documents is in a block of its own."""
    depths = [5, 5, 1_000_000, 5, *[100] * 200_000]
    blocks = list(candidates.blocks(iter(depths)))
    assert [(rows.start, rows.stop) for rows, _ in blocks][:3] == [(0, 2), (2, 3), (3, 10488)]
    assert max(len(found) * found.max() for _, found in blocks) <= candidates.MOST_CANDIDATES
    assert np.concatenate([found for _, found in blocks]).tolist() == depths


def test_the_report_accounts_for_every_candidate():
    found, report = mine(max_score=0.8, range_min=1, range_max=8, output_report=True)
    assert isinstance(report, MiningReport)
    queries = list(dict.fromkeys(QUESTIONS))
    assert report.anchors == len(queries)
    assert report.documents == len({*CORPUS, *ANSWERS})
    assert report.positives == len({*zip(QUESTIONS, ANSWERS, strict=True)})
    assert min(report.dropped[name] for name in ("same_text", "max_score", "range_min")) > 0
    taken = {(row["q"], row["negative"]) for row in found}
    assert report.negatives == len(taken)
    short = [sum(q == query for q, _ in taken) for query in queries]
    assert report.too_few == sum(count < 2 for count in short)
    assert report.without == sum(count == 0 for count in short)
    assert report.looked_at >= report.negatives + sum(report.dropped.values())
    everything = mine(range_max=500, num_negatives=500, output_report=True)[1]
    assert everything.looked_at == report.anchors * report.documents
    assert everything.dropped["positive"] == report.positives
    assert everything.looked_at == everything.negatives + sum(everything.dropped.values())


def test_nan_is_no_score_and_is_said(capsys):
    _, report = mine(model=Broken(), verbose=True, range_max=150, output_report=True)
    assert report.dropped["no_score"] > 0
    assert "no score (NaN)" in capsys.readouterr().out
    assert all(np.isfinite(list(values.values())).all() for values in report.scores.values())


def test_a_positive_without_a_score_lets_nothing_through_a_margin():
    rows = {"q": ["w1", "w2"], "a": ["w7 w1", "w2 w3"]}
    for options in ({"absolute_margin": 0.0}, {"relative_margin": 0.0}):
        found = mine(rows, Broken(), range_max=30, **options)
        assert set(found["q"]) == {"w2"}


@pytest.mark.parametrize(
    ("rows", "corpus", "expected"),
    [
        ({"q": ["w1"], "a": ["w2"]}, ["w3"], [("w1", "w2", "w3")]),
        ({"q": ["w1"], "a": ["w2"]}, [], []),
        ({"q": ["w1"], "a": ["w1"]}, ["W1."], []),
        ({"q": ["w1"], "a": [""]}, ["", "w5"], [("w1", "", "w5")]),
    ],
)
def test_few_rows(rows, corpus, expected):
    found, report = mine(rows, corpus=corpus, output_report=True, range_max=100)
    names = ("q", "a", "negative")
    assert [tuple(row[name] for name in names) for row in found] == expected
    assert report.too_few == 1
    assert str(report)


class Judge:
    """Scores all kinds of ways."""

    def score(self, query, document):
        return float(FakeEncoder().vector(query)[0] * FakeEncoder().vector(document)[0])


class Predicting(Judge):
    def predict(self, pairs, batch_size):
        assert batch_size == 32
        return torch.tensor([self.score(*pair) for pair in pairs])


class Ranking(Judge):
    def rank(self, query, documents):
        hits = [
            {"corpus_id": place, "score": self.score(query, text)}
            for place, text in enumerate(documents)
        ]
        return sorted(hits, key=lambda hit: -hit["score"])


def test_candidates_are_judged_by_predict_by_rank_or_by_a_function():
    function = lambda pairs: [Judge().score(*pair) for pair in pairs]  # noqa: E731
    options = {"max_score": 0.0, "output_scores": True}
    found = [mine(cross_encoder=one, **options) for one in (Predicting(), Ranking(), function)]
    assert found[0].to_dict() == found[1].to_dict() == found[2].to_dict()
    assert len(found[0]) > 10
    for row in found[0]:
        assert row["scores"][1] == pytest.approx(Judge().score(row["q"], row["negative"]), rel=1e-5)


def test_only_what_can_be_a_negative_is_judged():
    asked = []

    def judge(pairs):
        asked.extend(pairs)
        return np.zeros(len(pairs))

    mine(cross_encoder=judge, max_score=1.0, model=Broken())
    same = [(q, d) for q, d in asked if plain(q) == plain(d)]
    positives = set(zip(QUESTIONS, ANSWERS, strict=True))
    assert set(same) <= positives
    assert len(asked) == len(set(asked))


def test_a_judge_that_gives_nan():
    def judge(pairs):
        return [np.nan if "w3" in document else 0.0 for _, document in pairs]

    found, report = mine(cross_encoder=judge, max_score=1.0, output_report=True)
    assert report.dropped["no_score"] > 0
    assert not any("w3" in text for text in found["negative"])


@pytest.mark.parametrize(
    ("judge", "error", "message"),
    [
        ("a name", InputTypeError, r"predict\(pairs.*function.*got str"),
        (Predicting, InputTypeError, "got <class"),
        (lambda pairs: np.zeros((len(pairs), 3)), InputError, "one score per pair.*num_labels=1"),
        (lambda pairs: np.zeros(len(pairs) + 1), InputError, "one score per pair"),
        (lambda pairs: 0.5, InputError, "one score per pair|numbers"),
        (lambda pairs: None, InputError, "numbers"),
        (lambda pairs: ["high"] * len(pairs), InputError, "numbers|rows"),
    ],
)
def test_what_gives_no_scores_is_refused(judge, error, message):
    with pytest.raises(error, match=message):
        mine(cross_encoder=judge, max_score=1.0)


def test_what_cannot_judge_is_refused_before_anything_is_embedded():
    model = FakeEncoder()
    with pytest.raises(InputTypeError):
        mine(model=model, cross_encoder=3)
    assert not model.calls


def test_a_judge_that_nobody_asks_is_said(caplog):
    asked = []
    mine(cross_encoder=asked.append)
    assert not asked
    assert "cross_encoder has no effect" in caplog.text


def test_all_pairs_of_a_query_are_judged_in_one_call(monkeypatch):
    monkeypatch.setattr("sentune.search.rescoring._AT_A_TIME", 20)
    calls = []

    def judge(pairs):
        calls.append([q for q, _ in pairs])
        return np.zeros(len(pairs))

    mine(cross_encoder=judge, max_score=1.0)
    of_candidates = calls[: next(i for i, c in enumerate(calls) if c[0] == calls[0][0] and i)]
    seen = [query for call in of_candidates for query in dict.fromkeys(call)]
    assert len(of_candidates) > 5
    assert len(seen) == len(set(seen))
