"""Build, open, add, replace, delete and search with a model."""

import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest

import sentune
from sentune import Index, SentenceTransformer
from sentune.data.corpus import Document
from sentune.errors import (
    DatasetError,
    InputError,
    InputTypeError,
    MissingFolderError,
    MissingModelError,
    ModelFileError,
    OutputError,
    SentuneWarning,
    SettingError,
)
from sentune.search.semantic import semantic_search
from tests.precision import tolerance

TEXTS = {
    "cats": "The cat sat on the mat. The cat sleeps in the morning light.",
    'o\'neil "x"': "A dog ran over the river to the house.",
    "grün/日本": "Birds sing in the tree, and fish sleep under water.",
    "bread": "Small bread and red fish on a large table.",
}


@pytest.fixture(scope="module")
def built(model, tmp_path_factory):
    where = tmp_path_factory.mktemp("index") / "texts.index"
    documents = [
        {"id": name, "text": text, "year": 2000 + n, "kind": "animal" if n < 3 else None}
        for n, (name, text) in enumerate(TEXTS.items())
    ]
    Index.build(where, documents, model)
    return where


@pytest.fixture
def index(built, tmp_path):
    shutil.copytree(built, tmp_path / "i")
    return Index.open(tmp_path / "i")


def ids(hits):
    return [hit.id for hit in hits]


def test_the_index_finds_what_semantic_search_finds(index, model):
    encoder = SentenceTransformer(str(model), device="cpu")
    vectors = encoder.encode_document(list(TEXTS.values()))
    queries = ["a dog at the river", "the cat", ""]
    expected = semantic_search(encoder.encode_query(queries), vectors, top_k=4)
    found = index.search(queries, mode="vector", top_k=4)
    for hits, wanted in zip(found, expected):
        scores = [one["score"] for one in wanted]
        np.testing.assert_allclose([h.score for h in hits], scores, atol=tolerance(1e-5))
        if tolerance(0) == 0:
            assert ids(hits) == [list(TEXTS)[one["corpus_id"]] for one in wanted]
        assert {hit.id: hit.text for hit in hits} == TEXTS
    assert index.search("the cat", mode="vector", top_k=2) == found[1][:2]


def test_words_are_found_by_stem_and_whatever_characters_are_around_them(index):
    assert ids(index.search("sleeping", mode="text")) == ["grün/日本", "cats"]
    for query in ('"dog', "dog's", "(dog) AND", "+dog -cat^2 ~", "dog:*", "d\u00f2g", "DOG\n'"):
        assert 'o\'neil "x"' in ids(index.search(query, mode="text")), query
    for query in ("", "  ", "''", '"', "()", "*", "the", "\\", "\u65e5"):
        assert index.search(query, mode="text") == [], query


def test_both_rankings_are_joined(index):
    vector = ids(index.search("dog bread", mode="vector"))
    words = ids(index.search("dog bread", mode="text"))
    sums = {
        name: sum(
            weight / (11 + ranking.index(name))
            for weight, ranking in ((2, vector), (1, words))
            if name in ranking
        )
        for name in TEXTS
    }
    hits = index.search("dog bread")
    assert {hit.id: hit.score for hit in hits} == pytest.approx(sums)
    assert [hit.score for hit in hits] == sorted(sums.values(), reverse=True)
    assert len(words) == 2


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
@pytest.mark.parametrize(
    ("filter", "wanted"),
    [
        ("year >= 2001 AND kind = 'animal'", {'o\'neil "x"', "grün/日本"}),
        ({"kind": "animal", "year": [2000, 2002]}, {"cats", "grün/日本"}),
        ({"kind": None}, {"bread"}),
        ({"id": 'o\'neil "x"'}, {'o\'neil "x"'}),
        ({"id": ["grün/日本", "it's not there"]}, {"grün/日本"}),
        ({"year": []}, set()),
        ("kind IS NULL OR year = 2000", {"bread", "cats"}),
        ({}, set(TEXTS)),
        ({"year": range(2001, 2003)}, {'o\'neil "x"', "grün/日本"}),
        ({"year": np.array([2000, 2001])}, {"cats", 'o\'neil "x"'}),
        ({"year": np.int64(2000)}, {"cats"}),
        ("year = 2000 -- or later", {"cats"}),
    ],
)
def test_filters(index, mode, filter, wanted):
    hits = index.search("the cat a dog birds bread fish", mode=mode, filter=filter)
    assert set(ids(hits)) == wanted


def test_metadata_comes_with_the_hits(index):
    hit = index.search("cat", filter={"id": "cats"})[0]
    assert hit.metadata == {"year": 2000, "kind": "animal"}


@pytest.mark.parametrize(
    ("filter", "says"),
    [
        ("nothing = 1", "the columns are id, text, year, kind"),
        ("year >= ", "cannot be used"),
        ({"ye`ar": 1}, "names columns"),
        ({"year": object()}, "compares with texts"),
        (["year"], "must be SQL"),
        ("year > 2000 ORDER BY year; nonsense", "year > 2000 ORDER BY year; nonsense cannot"),
        ("year > 2000; DROP TABLE texts", "cannot be used"),
        ("year = 2000 LIMIT 0", "cannot be used"),
        ("", "the filter is blank"),
        (" \n", "the filter is blank"),
        ({"year": float("nan")}, "compares with texts, finite numbers.*got nan"),
        ({"year": np.float32("inf")}, "compares with texts, finite numbers.*got .*inf"),
    ],
)
def test_a_filter_that_cannot_be_used(index, filter, says):
    with pytest.raises(SettingError, match=says):
        index.search("cat", filter=filter)
    if not isinstance(filter, list):
        with pytest.raises(SettingError, match=says):
            index.delete(filter=filter)
    assert len(index) == 4


@pytest.mark.parametrize("value", [True, np.True_])
def test_filters_by_truth(value, tmp_path):
    rows = [{"text": "one", "flag": True}, {"text": "two", "flag": False}]
    index = Index.build(tmp_path / "i", rows, embeddings=np.eye(2))
    assert ids(index.search("one two", mode="text", filter={"flag": value})) == ["0"]


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_more_documents_than_any_number_of_rows(index, mode):
    many = 99_999_999_999
    expected = index.search("the cat", 50, mode=mode, candidates=50)
    assert index.search("the cat", many, mode=mode, candidates=many) == expected


def test_half_a_character_is_no_text(index, tmp_path):
    for mode in ("text", "hybrid"):
        with pytest.raises(InputError, match=r"lone surrogate \(U\+D800\)"):
            index.search("a \ud800 cat", mode=mode)
    for documents in ({"x": "a \ud800"}, {"a \ud800": "x"}):
        with pytest.raises(InputError, match=r"lone surrogate \(U\+D800\)"):
            index.add(documents, embeddings=np.ones((1, 32)))
    with pytest.raises(InputError, match=r"lone surrogate \(U\+D800\)"):
        index.add([{"text": "x", "kind": "a \ud800"}], embeddings=np.ones((1, 32)))
    assert len(index) == 4


def test_a_search_for_words_has_words_and_nothing_about_vectors(index):
    with pytest.raises(SettingError, match="compares words; give a query"):
        index.search(embedding=np.ones(32), mode="text")
    for options in ({"exact": True}, {"probes": 3}):
        with pytest.raises(SettingError, match="is about vectors"):
            index.search("cat", mode="text", **options)


def test_long_words_are_found(tmp_path):
    word = "https://example.org/" + "x" * 90
    key = "k" * 200
    index = Index.build(tmp_path / "i", [f"see {word} there", key, "other"], embeddings=np.eye(3))
    assert ids(index.search(word, mode="text"))[0] == "0"
    assert ids(index.search("x" * 90, mode="text")) == ["0"]
    assert ids(index.search(key, mode="text")) == ["1"]


@pytest.mark.parametrize(
    "options", [{"top_k": 0}, {"mode": "words"}, {"candidates": 0}, {"probes": 0}]
)
def test_options_out_of_range(index, options):
    with pytest.raises(SettingError):
        index.search("cat", **options)


@pytest.mark.parametrize("query", [3, ["cat", None]])
def test_a_query_is_a_text(index, query):
    with pytest.raises((InputTypeError, TypeError)):
        index.search(query)


def test_no_queries(index):
    assert index.search([]) == []
    with pytest.raises(SettingError, match="give a query"):
        index.search()


def test_add_replace_and_delete(index):
    index.add([{"id": "new", "text": "zebra number 42", "year": 1999}])
    assert len(index) == 5 and "new" in index and "old" not in index
    assert ids(index.search("zebra", mode="text")) == ["new"]
    hits = index.search("zebra number 42", mode="vector", top_k=1)
    assert ids(hits) == ["new"] and hits[0].metadata == {"year": 1999, "kind": None}
    two = [{"id": "new", "text": "an owl"}, {"id": "newer", "text": "a crow"}]
    assert index.replace(two) == 1  # of the two
    assert len(index) == 6
    assert index.search("zebra", mode="text") == []
    assert ids(index.search("owl", mode="text")) == ["new"]
    assert index.delete(["new", 'o\'neil "x"', "not there"]) == 2
    assert index.delete(["new"]) == 0
    assert len(index) == 4 and index.search("dog", mode="text") == []
    assert index.delete(filter="year < 2002") == 1
    assert set(ids(index.search("the cat", top_k=50))) == {"grün/日本", "bread", "newer"}
    assert len(Index.open(index._store.where)) == 3


def test_ids_that_are_there_or_come_twice_change_nothing(index):
    before = index._store._version
    with pytest.raises(InputError, match="'cats' is in the index already"):
        index.add([{"id": "fresh", "text": "fresh"}, {"id": "cats", "text": "other"}])
    with pytest.raises(InputError, match="'twin' comes twice"):
        index.add([{"id": "twin", "text": "one"}, {"id": "twin", "text": "two"}], replace=True)
    assert len(index) == 4 and "fresh" not in index
    assert Index.open(index._store.where)._store._version == before
    index.add({"fresh": "fresh bread"})  # what the failed ones left does not stay
    assert len(index) == 5 and set(ids(index.search("fresh bread", mode="text"))) == {
        "fresh",
        "bread",
    }


def test_texts_without_ids_are_counted_on_from_those_that_are_there(tmp_path):
    def vectors(count):
        return np.eye(4, dtype=np.float32)[:count]

    index = Index.build(tmp_path / "i", ["", "b", "c"], embeddings=vectors(3))
    index.delete(["0"])
    index.add(["d", "e"], embeddings=vectors(2))
    index.add([{"text": "f"}, {"id": "g", "text": "g"}], embeddings=vectors(2))
    index.replace(["h"], embeddings=vectors(1))  # of no id, it is in the place of nothing
    index.replace([{"id": "4", "text": "again"}], embeddings=vectors(1))
    index.add(["i"], embeddings=vectors(1))
    found = index.search(embedding=vectors(1)[0], top_k=50, mode="vector")
    assert {hit.id: hit.text for hit in found} == {
        "1": "b", "2": "c", "3": "d", "4": "again", "5": "f", "g": "g", "6": "h", "7": "i",
    }  # fmt: skip


def test_equal_ids_in_different_batches(index, monkeypatch):
    from sentune.index import rows

    documents = [Document(str(n), f"t {n}", {}) for n in range(5)] + [Document("1", "again", {})]
    monkeypatch.setattr(rows.batches, "__defaults__", (str, 2))
    for replace in (False, True):
        with pytest.raises(InputError, match="'1' comes twice"):
            index.add(documents, replace=replace)
        assert len(index) == 4


@pytest.mark.parametrize(
    ("options", "says"),
    [({}, "either"), ({"ids": ["a"], "filter": "TRUE"}, "either"), ({"filter": {}}, "delete all")],
)
def test_what_to_delete_must_be_said(index, options, says):
    with pytest.raises(SettingError, match=says):
        index.delete(**options)
    with pytest.raises(InputTypeError, match="must be a list"):
        index.delete("cats")


def test_columns_that_do_not_fit(index):
    with pytest.raises(InputError, match="'colour'"):
        index.add([{"id": "x", "text": "t", "colour": "red"}])
    with pytest.raises(InputError, match="column 'year' holds int64"):
        index.add([{"id": "x", "text": "t", "year": "last year"}])


@pytest.mark.parametrize("name", ["chunk", "vector", "a.b", "_distance", "a`b"])
def test_columns_that_an_index_cannot_have(name, tmp_path):
    with pytest.raises(InputError, match="cannot have"):
        Index.build(tmp_path / "i", [{"text": "t", name: 1}], embeddings=np.ones((1, 2)))


def test_columns_of_several_types_and_odd_names(tmp_path):
    rows = [
        {"text": "one", "my col": "it's", "n": 1, "tags": ["a", "b"], "x": {"y": 1.5}},
        {"text": "two", "my col": "", "n": 2.5, "flag": True},
    ]
    index = Index.build(tmp_path / "i", rows, embeddings=np.eye(2))
    hits = index.search(embedding=[1, 0.1], mode="vector", filter={"my col": "it's"})
    assert hits[0].metadata == {
        **{"my col": "it's", "n": 1.0, "tags": ["a", "b"], "x": {"y": 1.5}, "flag": None}
    }
    assert ids(index.search("two", mode="text", filter="flag AND n > 2")) == ["1"]


def test_documents_without_a_text_are_named(tmp_path, model):
    documents = [{"text": "one"}, {"text": None}, {"text": " \n"}, {"text": "two"}]
    with pytest.warns(SentuneWarning, match=r"2 documents are not in the index.*'1', '2'"):
        index = Index.build(tmp_path / "i", documents, model)
    assert len(index) == 2 and ids(index.search("two", mode="text")) == ["3"]


def test_another_model_is_refused(index, model, tmp_path):
    other = SentenceTransformer(str(model), device="cpu")
    next(other.parameters()).data[0, 0] += 1e-3
    opened = Index.open(index._store.where, other)
    for call in (lambda: opened.search("cat"), lambda: opened.add({"x": "text"})):
        with pytest.raises(SettingError, match=r"was built with the model .*is another one"):
            call()
    assert len(opened) == 4 and opened.search("cat", mode="text")  # needs no model
    other.save(tmp_path / "other")
    with pytest.raises(SettingError, match="other is another"):
        Index.open(index._store.where, tmp_path / "other").search("cat")
    same = Index.open(index._store.where, SentenceTransformer(str(model), device="cpu"))
    assert same.search("cat") == index.search("cat")


def test_a_model_that_was_moved_is_given_anew(model, tmp_path):
    shutil.copytree(model, tmp_path / "before")
    Index.build(tmp_path / "i", ["a dog", "a cat"], tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    with pytest.raises(MissingModelError, match="built with is not at .*say where it is: Index"):
        Index.open(tmp_path / "i").search("a dog")
    index = Index.open(tmp_path / "i", model=tmp_path / "after")
    assert index.search("a dog", top_k=1)[0].text == "a dog"


def test_the_weights_are_looked_at_only_if_files_changed(index, model, monkeypatch):
    from sentune.encoder import identity

    looked = []
    plain = identity.identity
    monkeypatch.setattr(identity, "identity", lambda given: looked.append(1) or plain(given))
    where = index._store.where
    assert Index.open(where).search("cat") and not looked
    shutil.copytree(model, where.parent / "copy")
    (where.parent / "copy" / "README.md").write_text("other")
    assert Index.open(where, where.parent / "copy").search("cat") and looked == [1]


def test_a_scorer_of_pairs_is_no_model_of_an_index(tmp_path):
    from tests.engine.test_classification_heads import classifier

    classifier(tmp_path / "base", "bert", 1)
    sentune.CrossEncoder(str(tmp_path / "base"), device="cpu").save(tmp_path / "scores")
    with pytest.raises(SettingError, match="scores pairs"):
        Index.build(tmp_path / "i", ["a"], tmp_path / "scores")


class Lengths:
    """A reranker for which shorter texts are better."""

    num_labels = 1

    def predict(self, pairs, **_):
        self.pairs = pairs
        return np.array([-float(len(text)) for _, text in pairs])


def test_a_reranker_orders_the_candidates_again(index):
    scorer = Lengths()
    hits = index.search("the cat", top_k=2, reranker=scorer)
    shortest = sorted(TEXTS, key=lambda name: len(TEXTS[name]))[:2]
    assert ids(hits) == shortest
    assert [hit.score for hit in hits] == [-len(TEXTS[name]) for name in shortest]
    assert {text for _, text in scorer.pairs} == set(TEXTS.values())
    best = index.search("the cat", top_k=1, candidates=2, mode="vector")
    index.search("the cat", top_k=1, candidates=2, mode="vector", reranker=scorer)
    assert len(scorer.pairs) == 2 and scorer.pairs[0] == ("the cat", best[0].text)


def test_a_cross_encoder_reranks(index, tmp_path):
    from tests.engine.test_classification_heads import classifier

    classifier(tmp_path / "base", "bert", 1)
    scorer = sentune.CrossEncoder(str(tmp_path / "base"), device="cpu")
    hits = index.search("the cat", top_k=4, reranker=scorer)
    expected = scorer.rank("the cat", [hit.text for hit in hits])
    scores = [one["score"] for one in expected]
    assert [hit.score for hit in hits] == pytest.approx(scores, abs=tolerance(1e-5))
    with pytest.raises(SettingError, match="one score per pair"):
        index.search("cat", reranker=object())
    with pytest.raises(SettingError, match="reads the text"):
        index.search(embedding=np.ones(32), reranker=scorer)


LONG = " ".join(f"The cat number {n} sat on the mat." for n in range(40))


def test_long_documents_are_cut_and_their_best_chunk_is_shown(tmp_path, model):
    text = f"{LONG} A zebra flew over the river. {LONG}"
    index = Index.build(tmp_path / "i", {"long": text, "short": "a dog"}, model)
    assert index.settings.chunk_tokens == 62 and index.settings.chunk_overlap == 7
    assert len(index) == 2 and index._store.rows > 10
    for mode in ("text", "hybrid"):
        hits = index.search("zebra flew", mode=mode)
        assert ids(hits).count("long") == 1
        hit = next(hit for hit in hits if hit.id == "long")
        assert "A zebra flew over the river." in hit.text and len(hit.text) < 300
        assert text[hit.start : hit.end] == hit.text
    index.replace({"long": "a bird"})
    assert index._store.rows == 2 and index.search("zebra", mode="text") == []


def test_a_chunk_may_not_be_longer_than_what_the_model_reads(tmp_path, model):
    with pytest.raises(SettingError, match="at most 62"):
        Index.build(tmp_path / "i", ["a"], model, chunk_tokens=63)
    index = Index.build(tmp_path / "i", [LONG], model, chunk_tokens=20, chunk_overlap=0)
    encoder = SentenceTransformer(str(model), device="cpu")
    rows = index._store._table.search().to_arrow()
    assert max(encoder.read(rows["text"].to_pylist())["lengths"]) <= 22
    assert " ".join(rows["text"].to_pylist()) == LONG


def test_the_prompt_of_documents_counts(tmp_path, model):
    encoder = SentenceTransformer(
        str(model), device="cpu", prompts={"document": "the passage of the document: "}
    )
    index = Index.build(tmp_path / "i", [LONG], encoder)
    assert index.settings.chunk_tokens == 62 - 6
    rows = index._store._table.search().to_arrow()
    expected = encoder.encode_document(rows["text"].to_pylist(), normalize_embeddings=True)
    found = np.stack(rows["vector"].to_numpy(zero_copy_only=False))
    np.testing.assert_allclose(found, expected, atol=tolerance(1e-6))
    assert index.settings.model is None
    with pytest.raises(SettingError, match="does not say where its model is"):
        Index.open(tmp_path / "i").search("cat")


def test_what_is_there_is_not_overwritten_by_mistake(index, model, tmp_path):
    where = index._store.where
    with pytest.raises(SettingError, match="there is an index"):
        Index.build(where, ["a"], model)
    old = Index.open(where)
    new = Index.build(where, ["a", "b"], model, overwrite=True)
    assert len(new) == 2 and len(old) == 2
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("text")
    with pytest.raises(SettingError, match="holds other files, as a.txt"):
        Index.build(tmp_path / "full", ["a"], model, overwrite=True)
    with pytest.raises(SettingError, match="is a file"):
        Index.build(tmp_path / "full" / "a.txt", ["a"], model)
    assert (tmp_path / "full" / "a.txt").read_text() == "text"


def test_a_failed_overwrite_leaves_the_old_index(index, model, monkeypatch):
    from sentune.index import documents, rows

    monkeypatch.setattr(documents, "_SEEN", 1)
    monkeypatch.setattr(rows.batches, "__defaults__", (str, 1))
    where = index._store.where

    def texts():
        yield from [{"text": "one"}, {"text": "two"}]
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        Index.build(where, texts(), model, overwrite=True)
    with pytest.raises(OSError, match="no more"):
        Index.build(where.with_name("new"), texts(), model)
    with pytest.raises(MissingFolderError):
        Index.open(where.with_name("new"))
    assert len(Index.build(where.with_name("new"), ["a"], model)) == 1
    assert len(Index.open(where)) == 4
    index.add({"x": "zebra text"})
    assert len(index) == 5 and ids(index.search("zebra", mode="text")) == ["x"]
    assert index.search("two", mode="text") == []


def test_where_there_is_no_index(tmp_path):
    for where in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(MissingFolderError, match="there is no index"):
            Index.open(where)


def test_a_table_that_is_not_of_sentune(tmp_path):
    import lancedb

    table = lancedb.connect(tmp_path / "i").create_table("texts", [{"id": "a"}])
    table.tags.create("published", table.version)
    with pytest.raises(ModelFileError, match="not made by sentune"):
        Index.open(tmp_path / "i")


def test_an_index_of_a_later_format(index):
    import json

    table = index._store._db.open_table("texts")
    text = json.loads(table.schema.metadata[b"sentune"])
    schema = table.schema.with_metadata({b"sentune": json.dumps({**text, "format": 2})})
    new = index._store._db.create_table("texts", schema=schema, mode="overwrite")
    new.tags.update("published", new.version)
    with pytest.raises(ModelFileError, match="install a newer one"):
        Index.open(index._store.where)


def test_the_store_keeps_its_warnings_to_itself(tmp_path):
    code = """
import sys
import numpy as np
from sentune import Index
for turn in range(2):  # equal vectors leave most lists empty, of which it would warn
    equal = np.ones((13_000, 2))
    options = {"exact_below": 1_000, "overwrite": True}
    Index.build(sys.argv[1], map(str, range(13_000)), embeddings=equal, **options)
"""
    words = [sys.executable, "-c", code, str(tmp_path / "i")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_an_index_that_cannot_be_read_is_not_taken_for_none(index):
    where = index._store.where
    for path in (where / "texts.lance" / "_versions").glob("*.manifest"):
        path.write_bytes(b"of another time")
    for call in (
        lambda: Index.open(where),
        lambda: Index.build(where, ["a"], embeddings=np.ones((1, 4))),
        lambda: Index.build(where, ["a"], embeddings=np.ones((1, 4)), overwrite=True),
    ):
        with pytest.raises(ModelFileError, match="cannot be read: .*. It is damaged"):
            call()


@pytest.mark.parametrize("damage", [b"", b"x" * 3000, None])
def test_an_index_without_its_data_says_so_whatever_is_done(damage, index):
    where = index._store.where
    for path in (where / "texts.lance" / "data").iterdir():
        path.unlink() if damage is None else path.write_bytes(damage)
    for call in (
        lambda one: one.search("cat"),
        lambda one: one.search("cat", mode="text"),
        lambda one: one.search(embedding=np.ones(one.settings.dimension), mode="vector"),
        lambda one: one.search("cat", mode="text", filter="year > 2000"),
        lambda one: "cats" in one,
        lambda one: one.add(["new"]),
        lambda one: one.delete(["cats"]),
        lambda one: one.delete(filter="year > 2000"),
        len,
    ):
        with pytest.raises(ModelFileError, match="cannot be read: .*. It is damaged"):
            call(Index.open(where, index._model_of(index.settings)))


def test_a_place_that_cannot_be_written_to():
    with pytest.raises(OutputError, match="/proc/sentune cannot be written: "):
        Index.build("/proc/sentune", ["a"], embeddings=np.ones((1, 4)))


FULL_DISK = """
import resource, signal, sys
import numpy as np
from sentune import Index
from sentune.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
index = Index.build(sys.argv[1], {"a": "one", "b": "two"}, embeddings=np.eye(2, 4))
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
more = {str(n): "three " * 50 for n in range(2000)}
try:
    index.add(more, embeddings=np.random.default_rng(0).normal(size=(2000, 4)))
except OutputError as error:
    assert "cannot be written" in str(error) and "whole" in str(error), error
else:
    sys.exit("it was not full")
assert len(index) == len(Index.open(sys.argv[1])) == 2
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
index.add({"c": "four"}, embeddings=np.ones((1, 4)))
assert len(Index.open(sys.argv[1])) == 3
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are of POSIX")
def test_a_full_disk_is_a_clear_error_and_leaves_the_old_index(tmp_path):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "i")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_file_of_lines_is_read_by_line(tmp_path):
    from sentune.index.documents import documents_of

    (tmp_path / "LINES.TXT").write_text("one\ntwo\n")
    assert len(list(documents_of(tmp_path / "LINES.TXT"))) == 2


def test_a_document_is_deleted_whole(tmp_path, model):
    text = " ".join(f"Sentence number {n} is about a dog." for n in range(40)) + " A zebra sleeps."
    documents = {"long": text, "short": "a cat"}
    index = Index.build(tmp_path / "i", documents, model, chunk_tokens=12)
    assert index.rows > 5
    assert index.delete(filter="text LIKE '%zebra%'") == 1
    assert (len(index), index.rows) == (1, 1)


def test_a_document_that_has_no_text_any_more_is_gone(index):
    with pytest.warns(SentuneWarning, match="not in the index.*'cats'"):
        index.replace({"cats": " "})
    assert "cats" not in index and len(index) == 3


def test_there_is_room_for_other_kinds_of_rows(index):
    schema = index._store._table.schema
    assert str(schema.field("sparse").type).startswith("list<")
    assert [f.name for f in schema.field("sparse").type.value_type] == ["token", "weight"]
    assert schema.field("vectors").type.value_type == schema.field("vector").type
    assert index.settings.kind == "vector"


@pytest.mark.parametrize("language", ["German", None])
def test_the_language_of_the_words(language, tmp_path):
    texts = ["Die Katzen schlafen", "the houses"]
    index = Index.build(tmp_path / "i", texts, embeddings=np.eye(2), language=language)
    assert ids(index.search("Katze", mode="text")) == (["0"] if language else [])
    assert ids(index.search("the", mode="text")) == ["1"]  # a stop word in English only


def test_an_unknown_language(tmp_path):
    with pytest.raises(SettingError, match="Klingon"):
        Index.build(tmp_path / "i", ["a"], embeddings=np.ones((1, 2)), language="Klingon")


LOADS = """
import sys
import sentune
index = sentune.Index.open(sys.argv[1])
print(len(index), [hit.id for hit in index.search("dog", mode="text")], index.settings.dimension)
heavy = {"torch", "transformers", "datasets"} & set(sys.modules)
assert not heavy, heavy
"""


def test_open_and_a_search_for_words_load_neither_model_nor_torch(built):
    done = subprocess.run([sys.executable, "-c", LOADS, str(built)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "4 ['o\\'neil \"x\"'] 32\n"


def test_progress_is_reported_and_the_memory_is_that_of_a_batch(tmp_path, monkeypatch):
    from sentune.index import rows

    monkeypatch.setattr(rows.given, "__defaults__", (str, 100))
    seen = []
    Index.build(
        tmp_path / "i",
        (f"text {n}" for n in range(250)),
        embeddings=np.ones((250, 2)),
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(100, None), (200, None), (250, None)]


def test_files_and_folders(tmp_path, model):
    folder = tmp_path / "notes"
    (folder / "deep").mkdir(parents=True)
    (folder / "one.txt").write_text("The cat.\n\nA second paragraph about zebras.")
    (folder / "deep" / "two.md").write_text("# Dogs\n\nA dog ran.")
    (folder / "ignored.py").write_text("print()")
    index = Index.build(tmp_path / "i", folder, model)
    assert len(index) == 2
    assert ids(index.search("zebra", mode="text")) == ["one.txt"]
    assert ids(index.search("dog", mode="text")) == ["deep/two.md"]
    (tmp_path / "rows.csv").write_text("name,question,year\nx,what is a cat,1\ny,a red fish,2\n")
    index = Index.build(tmp_path / "j", tmp_path / "rows.csv", model, text="question", id="name")
    hits = index.search("fish", mode="text", filter="year = 2")
    assert ids(hits) == ["y"] and hits[0].metadata == {"year": 2}
    (tmp_path / "lines.txt").write_text("one cat\ntwo dogs\n")
    assert len(Index.build(tmp_path / "k", tmp_path / "lines.txt", model)) == 2
    (tmp_path / "one.rst").write_text("one cat\ntwo dogs\n")
    assert len(Index.build(tmp_path / "l", tmp_path / "one.rst", model)) == 1
    with pytest.raises(DatasetError):
        Index.build(tmp_path / "m", tmp_path / "nowhere.csv", model)


@pytest.mark.parametrize(
    ("documents", "error"), [(3, InputTypeError), ([3], InputTypeError), ([{"x": "t"}], InputError)]
)
def test_documents_that_are_none(documents, error, tmp_path):
    with pytest.raises(error):
        Index.build(tmp_path / "i", documents, embeddings=np.ones((1, 2)))
    assert not (tmp_path / "i").exists()


def test_a_model_or_embeddings(tmp_path):
    with pytest.raises(SettingError, match="give a model, or embeddings"):
        Index.build(tmp_path / "i", ["a"])


def test_an_index_of_tables(tmp_path):
    import datasets

    table = datasets.Dataset.from_dict({"id": [7, 8], "text": ["cat", "dog"], "n": [1, 2]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index = Index.build(tmp_path / "i", table, embeddings=np.eye(2))
    assert ids(index.search("dog", mode="text")) == ["8"]


def test_a_column_id_that_names_no_rows_is_kept_under_another_name(model, tmp_path):
    rows = "text,id,year\nthe cat,a,2000\na dog,a,2001\n"
    (tmp_path / "rows.csv").write_text(rows, encoding="utf-8")
    index = Index.build(tmp_path / "i", tmp_path / "rows.csv", model)
    (hit,) = index.search("the cat", top_k=1, mode="vector")
    assert hit.metadata == {"id_": "a", "year": 2000}
    assert hit.id == "rows.csv:0"
