"""What is missing is a FileNotFoundError, beside what it was before."""

import pytest

from sentune import SentenceTransformer, errors
from sentune.data.read import read
from sentune.models import word_vectors
from sentune.readers import TripletReader
from sentune.share.push import files_in


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        (errors.MissingDatasetError, (errors.DatasetError, ValueError)),
        (errors.MissingModelError, (errors.ModelFileError, ValueError)),
        (errors.HubNotFoundError, (errors.HubError, OSError)),
        (errors.MissingInputError, (errors.InputError, ValueError)),
        (errors.MissingFolderError, (errors.SettingError, ValueError)),
    ],
)
def test_an_error_of_something_missing_is_also_what_it_was(kind, before):
    error = kind("there is no file x")
    assert isinstance(error, FileNotFoundError) and str(error) == "there is no file x"
    assert all(isinstance(error, one) for one in before)


def test_what_is_not_there_is_a_file_not_found(tmp_path):
    nowhere = tmp_path / "nowhere"
    for use, kind in (
        (lambda: read(f"{nowhere}.csv"), errors.MissingDatasetError),
        (lambda: SentenceTransformer(str(nowhere)), errors.MissingModelError),
        (lambda: word_vectors.read_word_vectors(nowhere), errors.MissingInputError),
        (lambda: files_in(nowhere), errors.MissingFolderError),
        (lambda: TripletReader(tmp_path).get_examples("nowhere"), FileNotFoundError),
    ):
        with pytest.raises(kind):
            use()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_file_that_a_model_lacks_is_a_file_not_found(name, tiny_bert_folder, tmp_path):
    model = SentenceTransformer(str(tiny_bert_folder))
    model.save(str(tmp_path))
    for path in list(tmp_path.rglob(name)):
        path.unlink()
    for path in tmp_path.rglob("vocab.txt"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="is missing|no file named"):
        SentenceTransformer(str(tmp_path))


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_pointer_in_place_of_weights_is_named(name, tiny_bert_folder, tmp_path):
    SentenceTransformer(str(tiny_bert_folder)).save(str(tmp_path))
    (weights,) = tmp_path.glob("model.safetensors")
    weights.unlink()
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(errors.ModelFileError, match="Git LFS pointer"):
        SentenceTransformer(str(tmp_path))


def test_a_pointer_in_place_of_a_file_of_examples_is_named(tmp_path):
    (tmp_path / "rows.tsv").write_text(POINTER)
    with pytest.raises(errors.DatasetError, match="Git LFS pointer"):
        TripletReader(tmp_path).get_examples("rows.tsv")
