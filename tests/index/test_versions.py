"""An index is overwritten by another one while processes hold it, and where it may be made."""

import shutil
from datetime import timedelta

import lancedb
import numpy as np
import pytest

from sentune import Index, SentenceTransformer
from sentune.errors import InputError, MissingFolderError, ModelFileError, SettingError
from sentune.index import index as index_file
from sentune.index import store


@pytest.fixture(scope="module")
def other(model, tmp_path_factory):
    encoder = SentenceTransformer(str(model), device="cpu")
    for weight in encoder.parameters():
        weight.data = weight.data.flip(0)
    folder = tmp_path_factory.mktemp("other")
    encoder.save(folder)
    return folder


def test_a_handle_of_an_index_that_was_overwritten_adds_with_the_model_of_the_new_one(
    model, other, tmp_path
):
    Index.build(tmp_path / "i", ["a dog"], model)
    kept = Index.open(tmp_path / "i")
    given = Index.open(tmp_path / "i", model)
    kept.search("a dog")  # with the model of the old one
    Index.build(tmp_path / "i", ["a cat"], other, overwrite=True)
    with pytest.raises(SettingError, match="is another one"):
        given.add({"x": "a bird"})
    kept.add({"x": "a bird"})
    expected = SentenceTransformer(str(other), device="cpu").encode_document(["a bird"])[0]
    hit = kept.search(embedding=expected, mode="vector", top_k=1)[0]
    assert (hit.id, len(kept)) == ("x", 2) and hit.score == pytest.approx(1, abs=1e-3)


def test_an_overwrite_between_the_call_of_add_and_its_turn_to_write(
    model, other, tmp_path, monkeypatch
):
    index = Index.build(tmp_path / "i", ["a dog"], model)
    plain = index_file.documents_of

    def slow(*arguments):
        monkeypatch.setattr(index_file, "documents_of", plain)
        Index.build(tmp_path / "i", ["a cat"], other, overwrite=True)
        return plain(*arguments)

    monkeypatch.setattr(index_file, "documents_of", slow)
    with pytest.raises(SettingError, match="is another one"):
        index.add({"x": "a bird"})
    assert len(index) == 1


def test_a_reader_of_an_index_that_was_overwritten_asks_with_the_new_model(model, other, tmp_path):
    Index.build(tmp_path / "i", ["a dog", "a cat"], model)
    kept = Index.open(tmp_path / "i")
    given = Index.open(tmp_path / "i", model)
    kept.search("a dog")
    Index.build(tmp_path / "i", ["a dog", "a cat"], other, overwrite=True)
    with pytest.raises(SettingError, match="is another one"):
        given.search("a dog")
    assert kept.search("a dog") == Index.open(tmp_path / "i").search("a dog")


def test_an_overwrite_between_the_vector_of_a_query_and_the_search(tmp_path, monkeypatch):
    index = Index.build(tmp_path / "i", ["a", "b"], embeddings=np.eye(2) * 3, similarity="dot")
    plain = store.Store.refresh

    def refresh(self):
        plain(self)
        if self is index._store and self.settings.similarity == "dot":
            monkeypatch.setattr(store.Store, "refresh", plain)
            vectors = np.eye(2) * 3
            Index.build(
                tmp_path / "i", ["a", "b"], embeddings=vectors, similarity="cosine", overwrite=True
            )

    monkeypatch.setattr(store.Store, "refresh", refresh)
    hits = index.search(embedding=[5, 0], mode="vector")
    assert [hit.score for hit in hits] == [1, 0]


def test_the_width_of_a_query_is_that_of_the_index_that_is_read(tmp_path):
    index = Index.build(tmp_path / "i", ["a", "b"], embeddings=np.eye(2))
    Index.build(tmp_path / "i", ["a", "b", "c"], embeddings=np.eye(3), overwrite=True)
    with pytest.raises(InputError, match="vectors of 3 numbers"):
        index.search(embedding=[1, 0], mode="vector")
    assert index.search(embedding=[0, 0, 1], mode="vector", top_k=1)[0].text == "c"


@pytest.mark.parametrize("kind", [OSError, ValueError, RuntimeError])
@pytest.mark.parametrize("says", ["Not found: my page", "LanceError(IO) of mine"])
def test_errors_of_the_documents_stay_what_they_are(kind, says, tmp_path, monkeypatch):
    from sentune.index import documents, rows

    monkeypatch.setattr(documents, "_SEEN", 1)
    monkeypatch.setattr(rows.given, "__defaults__", (str, 1))

    def texts():
        yield from ["one", "two"]
        raise kind(says)

    index = Index.build(tmp_path / "i", ["a"], embeddings=np.ones((1, 2)))
    for call in (
        lambda: index.add(texts(), embeddings=np.ones((9, 2))),
        lambda: Index.build(tmp_path / "j", texts(), embeddings=np.ones((9, 2))),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert type(caught.value) is kind and str(caught.value) == says


def test_a_place_without_an_index_is_left_as_it_is(tmp_path):
    with pytest.raises(MissingFolderError, match="there is no index"):
        Index.open(tmp_path / "nowhere" / "deep")
    assert not (tmp_path / "nowhere").exists()


# Where an index may be made -----------------------------------------------------------------------


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("is_tagged", [False, True])
def test_a_table_of_someone_else_is_not_overwritten(overwrite, is_tagged, tmp_path):
    table = lancedb.connect(tmp_path / "i").create_table("texts", [{"mine": "a"}])
    if is_tagged:
        table.tags.create("published", table.version)
    with pytest.raises(SettingError, match=r"holds other files, as texts\.lance"):
        Index.build(tmp_path / "i", ["a"], embeddings=np.ones((1, 2)), overwrite=overwrite)
    assert lancedb.connect(tmp_path / "i").open_table("texts").to_arrow().to_pylist() == [
        {"mine": "a"}
    ]
    with pytest.raises(ModelFileError, match="not made by sentune"):
        Index.open(tmp_path / "i")


def test_an_index_is_not_made_beside_the_tables_of_someone_else(tmp_path):
    lancedb.connect(tmp_path / "i").create_table("others", [{"mine": "a"}])
    with pytest.raises(SettingError, match=r"holds other files, as others\.lance"):
        Index.build(tmp_path / "i", ["a"], embeddings=np.ones((1, 2)))


@pytest.mark.parametrize("lost", ["_refs", "_versions"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_index_that_was_copied_in_part_is_not_overwritten(lost, overwrite, tmp_path):
    Index.build(tmp_path / "i", ["a"], embeddings=np.ones((1, 2)))
    shutil.rmtree(tmp_path / "i" / "texts.lance" / lost)
    before = sorted((tmp_path / "i").rglob("*"))
    with pytest.raises((ModelFileError, SettingError), match=r"copied in part|holds other files"):
        Index.build(tmp_path / "i", ["a"], embeddings=np.ones((1, 2)), overwrite=overwrite)
    with pytest.raises((ModelFileError, MissingFolderError)):
        Index.open(tmp_path / "i")
    assert sorted((tmp_path / "i").rglob("*")) == before


# What an overwrite leaves -------------------------------------------------------------------------


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_an_overwrite_frees_what_was_there(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_KEPT", timedelta(milliseconds=1))
    secret = "a text that must not stay on the disk"
    vectors = np.random.default_rng(0).normal(size=(500, 64))
    index = Index.build(tmp_path / "i", [secret] * 500, embeddings=vectors)
    first = size(tmp_path / "i")
    for _ in range(3):
        Index.build(tmp_path / "i", ["b"] * 500, embeddings=vectors, overwrite=True)
    assert size(tmp_path / "i") < 1.5 * first
    whole = b"".join(path.read_bytes() for path in (tmp_path / "i").rglob("*") if path.is_file())
    assert secret.encode() not in whole
    assert len(index) == 500 and index.search("b", mode="text")


def test_overwrites_that_fail_leave_nothing_for_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_KEPT", timedelta(milliseconds=1))
    vectors = np.random.default_rng(0).normal(size=(500, 64))
    Index.build(tmp_path / "i", ["a"] * 500, embeddings=vectors)
    first = size(tmp_path / "i")
    for _ in range(4):
        with pytest.raises(InputError, match="embeddings"):
            Index.build(tmp_path / "i", ["b"] * 499, embeddings=vectors, overwrite=True)
    assert size(tmp_path / "i") < 3 * first
    Index.build(tmp_path / "i", ["b"] * 500, embeddings=vectors, overwrite=True)
    assert size(tmp_path / "i") < 1.5 * first
