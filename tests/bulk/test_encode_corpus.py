"""A corpus becomes shards of embeddings; what is there is not done again, another job refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from sentune import SentenceTransformer, bulk
from sentune.bulk.job import MANIFEST
from sentune.bulk.storage import storage_at
from sentune.data.corpus import Corpus
from sentune.errors import DatasetError, ModelFileError, OutputError, SettingError
from tests.bulk.small import content, static, write_corpus


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "corpus.jsonl"
    write_corpus(path)
    return path


@pytest.fixture(scope="module")
def model():
    return static()


def encode(source, model, output, **options):
    return bulk.encode_corpus(source, model, output, **{"shard_rows": 30, **options})


def tables(folder):
    return [pq.read_table(path) for path in sorted(folder.glob("shard-?????.parquet"))]


def test_shards_hold_ids_texts_metadata_and_what_encode_gives(source, model, tmp_path):
    found = encode(source, model, tmp_path / "out", normalize_embeddings=True)
    address = str(tmp_path / "out")
    assert found == bulk.Summary(address, shards=4, missing=[], rows=100, failed=0, dimension=8)
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    parts = tables(tmp_path / "out")
    assert [len(part) for part in parts] == [30, 30, 30, 10]
    whole = pa.concat_tables(parts)
    assert whole.schema.names == ["id", "text", "year", "embedding"]
    assert whole.select(["id", "text", "year"]).to_pylist() == rows
    kind = whole.schema.field("embedding").type
    assert (kind.list_size, kind.value_type) == (8, pa.float32())
    vectors = np.stack(whole["embedding"].to_numpy())
    expected = model.encode([row["text"] for row in rows], normalize_embeddings=True)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_other_programs_read_the_shards(source, model, tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    encode(source, model, tmp_path / "out")
    files = str(tmp_path / "out" / "*.parquet")
    found = load_dataset("parquet", data_files=files, split="train")
    assert len(found) == 100 and len(found[99]["embedding"]) == 8 and found[99]["id"] == "d99"


def test_the_manifest_says_what_it_is(source, model, tmp_path):
    encode(source, model, tmp_path / "out", prompt="query: ", truncate_dim=4)
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert len(manifest["model"]["hash"]) == 32
    assert manifest["settings"] == {
        "format": "parquet",
        "prompt": "query: ",
        "task": None,
        "precision": "float32",
        "truncate_dim": 4,
        "normalize": False,
        "batch_size": None,
        "multiplies_in": manifest["settings"]["multiplies_in"],
    }
    assert manifest["output"] == {"dimension": 4, "dtype": "float32"}
    corpus = manifest["corpus"]
    assert corpus["source"] == str(source) and corpus["columns"] == {"year": "int64"}
    assert corpus["files"][0][:2] == ["corpus.jsonl", source.stat().st_size]
    assert [rows for _, _, rows, _ in corpus["shards"]] == [30, 30, 30, 10]
    complete = json.loads((tmp_path / "out" / "complete.json").read_text())
    assert (complete["rows"], complete["failed"], len(complete["shards"])) == (100, 0, 4)


def test_two_runs_write_the_same_bytes(source, model, tmp_path):
    for form in ("parquet", "npy"):
        encode(source, model, tmp_path / f"one-{form}", format=form)
        encode(source, model, tmp_path / f"two-{form}", format=form)
        one, two = content(tmp_path / f"one-{form}"), content(tmp_path / f"two-{form}")
        assert one == two and len(one) > 5


@pytest.mark.parametrize("form", ["parquet", "npy"])
def test_it_goes_on_where_it_was(form, source, model, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "out"
    encode(source, model, whole, format=form)
    encode(source, model, out, format=form)
    for name in (f"shard-00001.{form}", "complete.json"):
        (out / name).unlink()
    kept = (out / f"shard-00000.{form}").stat().st_mtime_ns
    scans = []
    monkeypatch.setattr("sentune.data.corpus.scan_rows", lambda *_: scans.append(1))
    found = encode(source, model, out, format=form)
    assert (found.rows, found.missing) == (30, [])
    assert not scans  # the corpus is not looked over again
    assert content(out) == content(whole)
    assert (out / f"shard-00000.{form}").stat().st_mtime_ns == kept
    assert encode(source, model, out, format=form).rows == 0


def test_npy_has_the_rest_beside_it(source, model, tmp_path):
    encode(source, model, tmp_path / "npy", format="npy")
    encode(source, model, tmp_path / "parquet")
    for number, table in enumerate(tables(tmp_path / "parquet")):
        array = np.load(tmp_path / "npy" / f"shard-{number:05d}.npy", mmap_mode="r")
        rest = pq.read_table(tmp_path / "npy" / f"shard-{number:05d}.rows.parquet")
        np.testing.assert_array_equal(array, np.stack(table["embedding"].to_numpy()))
        assert rest.equals(table.drop_columns("embedding"))
    assert number == 3


@pytest.mark.parametrize("precision", ["float16", "int8", "uint8", "binary", "ubinary"])
@pytest.mark.parametrize("form", ["parquet", "npy"])
def test_every_precision(precision, form, source, model, tmp_path):
    from sentune import quantize_embeddings

    encode(source, model, tmp_path / "out", precision=precision, format=form)
    if form == "parquet":
        found = np.stack(pa.concat_tables(tables(tmp_path / "out"))["embedding"].to_numpy())
    else:
        files = sorted((tmp_path / "out").glob("*.npy"))
        found = np.concatenate([np.load(path) for path in files])
    texts = [one.text for one in Corpus.open(source)]
    exact = model.encode(texts)
    if precision == "float16":
        expected = exact.astype(np.float16)
    else:  # ranges of all shards, as there are few rows
        expected = quantize_embeddings(exact, precision)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    assert np.abs(found.astype(float) - expected).max() <= (precision in ("int8", "uint8"))


def test_a_number_of_eight_bits_takes_a_byte(tmp_path):
    write_corpus(tmp_path / "corpus.jsonl", rows=2000)
    encode(
        tmp_path / "corpus.jsonl",
        static(width=256),
        tmp_path / "out",
        precision="int8",
        shard_rows=2000,
    )
    about = pq.read_metadata(tmp_path / "out" / "shard-00000.parquet")
    column = about.row_group(0).column(about.num_columns - 1)
    assert column.path_in_schema == "embedding.list.element"
    assert column.total_compressed_size < 1.05 * 2000 * 256


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prompt": "x"}, "prompt was None and is 'x'"),
        ({"normalize_embeddings": True}, "normalize was False and is True"),
        ({"truncate_dim": 4}, "truncate_dim was None and is 4"),
        ({"precision": "float16"}, "precision was 'float32' and is 'float16'"),
        ({"format": "npy"}, "format was 'parquet' and is 'npy'"),
        ({"batch_size": 3}, "batch_size was None and is 3"),
        ({"shard_rows": 7}, "shard_rows was 30 and is 7"),
        ({"text": "id", "id": "year"}, "text was 'text' and is 'id'; id was 'id' and is 'year'"),
    ],
)
def test_another_job_in_the_output_is_refused(change, says, source, model, tmp_path):
    encode(source, model, tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(SettingError, match=says) as error:
        encode(source, model, tmp_path / "out", **change)
    assert f"{tmp_path / 'out'} holds another job" in str(error.value)
    assert content(tmp_path / "out") == before


def test_the_same_columns_by_name_are_the_same_job(source, model, tmp_path):
    encode(source, model, tmp_path / "out")
    assert encode(source, model, tmp_path / "out", text="text", id="id").rows == 0


def test_the_type_of_a_model_that_is_loaded_is_kept(source, tiny_model, tmp_path):
    tiny_model.save(str(tmp_path / "model"))
    encode(source, tmp_path / "model", tmp_path / "out", dtype="float16")
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert manifest["settings"]["multiplies_in"] == manifest["model"]["dtype"] == "float16"
    (tmp_path / "out" / "shard-00001.parquet").unlink()
    assert bulk.encode_shard(bulk.Job.open(tmp_path / "out"), 1).rows == 30
    with pytest.raises(SettingError, match="multiplies_in was 'float16' and is 'float32'"):
        encode(source, tmp_path / "model", tmp_path / "out", dtype="float32")


def test_another_model_or_corpus_in_the_output_is_refused(source, model, tmp_path):
    out = tmp_path / "out"
    encode(source, model, out)
    with pytest.raises(SettingError, match=r"model was a model \(\w{8}\) and is a model \(\w{8}"):
        encode(source, static(1), out)
    (tmp_path / "folder").mkdir()
    write_corpus(tmp_path / "folder" / "a.jsonl")
    with pytest.raises(SettingError, match=r"are gone: corpus.jsonl; .* are new: a.jsonl"):
        encode(tmp_path / "folder", model, out)
    source.write_text(source.read_text().replace("d99", "e99"))
    with pytest.raises(SettingError, match=r"files of the corpus have changed: corpus.jsonl"):
        encode(source, model, out)


def test_an_output_in_the_folder_that_is_read_is_refused(source, model, tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    source.rename(folder / "a.jsonl")
    for out in (folder, folder / "out", folder / "a" / ".." / "out"):
        with pytest.raises(SettingError, match="would be read as a part of it.*another folder"):
            bulk.encode_corpus(folder, model, out)
    assert [path.name for path in folder.iterdir()] == ["a.jsonl"]
    assert bulk.encode_corpus(folder / "a.jsonl", model, folder / "out").missing == []


def test_an_output_in_a_folder_of_documents_is_refused_for_a_new_job(model, tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.md").write_text("a cat")
    (folder / "empty.md").touch()
    with pytest.raises(SettingError, match="would count as a part of it.*another folder"):
        bulk.encode_corpus(folder, model, folder / "out", per="file")
    found = bulk.encode_corpus(folder, model, tmp_path / "out", per="file")
    assert (found.rows, found.failed) == (1, 1)
    (tmp_path / "out").rename(folder / "out")  # as one that was begun before
    assert bulk.encode_corpus(folder, model, folder / "out", per="file").missing == []


def test_a_file_that_changes_is_noticed_by_whoever_does_a_shard(source, model, tmp_path):
    bulk.Job.start(source, model, tmp_path / "out")
    text = source.read_text()
    source.write_text(text.replace('"year": 0', '"year": 9', 1))
    job = bulk.Job.open(tmp_path / "out", model=model)
    with pytest.raises(DatasetError, match="has changed since it was read first"):
        bulk.encode_shard(job, 0)
    assert not list((tmp_path / "out").glob("shard-*"))


def test_shards_of_an_unknown_job_are_not_touched(source, model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "shard-00000.parquet").write_bytes(b"x")
    with pytest.raises(SettingError, match=r"has shards but no manifest.json"):
        encode(source, model, tmp_path / "out")


def test_what_another_job_said_of_its_end_is_not_believed(source, model, tmp_path):
    encode(source, model, tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        if path.name != "complete.json":
            path.unlink()
    with pytest.raises(SettingError, match=r"has complete.json but no manifest.json.* delete"):
        encode(source, model, tmp_path / "out", shard_rows=7)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["complete.json"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "damaged, or of another program; put the right one back, or give another folder"),
        ("no json", "no manifest of a job"),
        ("[]", "no manifest of a job"),
        ('{"version": 1, "name": "an app"}', "no manifest of a job"),
        ('{"version": 1, "sentune": "0.1.0"}', "damaged: a part of it is missing"),
        ('{"version": 9, "sentune": "9.1.0"}', r"of another version of sentune \(9.1.0\)"),
    ],
)
def test_a_manifest_that_is_none_is_named_and_kept(content, says, source, model, tmp_path):
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / MANIFEST
    path.write_text(content)
    for work in (lambda: encode(source, model, path.parent), lambda: bulk.Job.open(path.parent)):
        with pytest.raises(SettingError, match=f"out/manifest.json is .*{says}"):
            work()
    assert path.read_text() == content


@pytest.mark.parametrize("form", ["parquet", "npy"])
@pytest.mark.parametrize("size", [0, 5])
def test_a_damaged_shard_is_named(form, size, source, model, tmp_path):
    encode(source, model, tmp_path / "out", format=form)
    path = tmp_path / "out" / f"shard-00002.{form}"
    path.write_bytes(path.read_bytes()[:size])
    (tmp_path / "out" / "complete.json").unlink()
    with pytest.raises(OutputError, match=f"out/{path.name} cannot be read.* delete it, and"):
        encode(source, model, tmp_path / "out", format=form)
    path.unlink()
    assert encode(source, model, tmp_path / "out", format=form).rows == 30


def test_a_shard_of_format_npy_is_there_if_both_of_its_files_are(source, model, tmp_path):
    encode(source, model, tmp_path / "out", format="npy")
    whole = content(tmp_path / "out")
    (tmp_path / "out" / "shard-00001.rows.parquet").unlink()
    job = bulk.Job.open(tmp_path / "out", model=model)
    assert job.missing() == [1] and not job.is_done(1) and job.is_done(0)
    assert encode(source, model, tmp_path / "out", format="npy").rows == 30
    assert content(tmp_path / "out") == whole


@pytest.mark.parametrize(("variable", "value"), [("WORLD_SIZE", ""), ("RANK", "x")])
def test_variables_of_torchrun_that_are_no_numbers_are_named(variable, value, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingError, match=f"variable {variable} must be a number.*--shards"):
        bulk.Share.of_environment()


def test_texts_that_cannot_be_encoded_are_named_and_stop_nothing(model, tmp_path):
    lines = ['{"id": "a", "text": "a cat"}', '{"id": "b", "text": null}', '{"id": "c", "text": 7}']
    lines += ["{", '{"id": "e", "text": "a dog"}', '{"id": "f"}']
    source = tmp_path / "corpus.jsonl"
    source.write_text("\n".join(lines))
    found = encode(source, model, tmp_path / "out", shard_rows=4)
    assert (found.rows, found.failed, found.missing) == (2, 4, [])
    names = [row["id"] for part in tables(tmp_path / "out") for row in part.to_pylist()]
    files = sorted((tmp_path / "out").glob("*.errors.jsonl"))
    told = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    assert names == ["a", "e"] and [row["id"] for row in told] == ["b", "c", "corpus.jsonl:3", "f"]
    assert [path.name for path in files] == ["shard-00000.errors.jsonl", "shard-00001.errors.jsonl"]
    assert "no string but 7" in told[1]["problem"] and "not JSON" in told[2]["problem"]
    complete = json.loads((tmp_path / "out" / "complete.json").read_text())
    assert [shard["failed"] for shard in complete["shards"]] == [3, 1]


@pytest.fixture
def picky(monkeypatch):
    """Makes models fail on a word, as tokenizers do on some texts; gives a list of their calls."""
    inner, calls = SentenceTransformer.read, []

    def make(word):
        def read(self, texts, **kwargs):
            calls.append(len(texts))
            if found := [text for text in texts if word in text]:
                raise ValueError(f"cannot read {found[0]!r}")
            return inner(self, texts, **kwargs)

        monkeypatch.setattr(SentenceTransformer, "read", read)
        return calls

    return make


def test_a_text_that_the_model_cannot_read_is_found_among_many(source, model, tmp_path, picky):
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    for place in (3, 4, 95):
        rows[place]["text"] += " seven"
    rows[50]["text"] = None
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    good = [row for place, row in enumerate(rows) if place not in (3, 4, 50, 95)]
    expected = model.encode([row["text"] for row in good])
    calls = picky("seven")
    found = encode(source, model, tmp_path / "out", shard_rows=200)
    assert (found.rows, found.failed) == (96, 4) and len(calls) < 60
    told = (tmp_path / "out" / "shard-00000.errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in told] == ["d3", "d4", "d50", "d95"]
    (table,) = tables(tmp_path / "out")
    assert table["id"].to_pylist() == [row["id"] for row in good]
    np.testing.assert_allclose(np.stack(table["embedding"].to_numpy()), expected, atol=1e-6)


def test_a_model_that_can_read_nothing_is_an_error(source, model, tmp_path, picky):
    job = bulk.Job.start(source, model, tmp_path / "out")
    picky("")
    with pytest.raises(ValueError, match="cannot read"):
        bulk.encode_shard(job, 0)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("form", ["parquet", "npy"])
def test_a_shard_is_written_in_portions(form, source, model, tmp_path, monkeypatch):
    encode(source, model, tmp_path / "whole", format=form)
    expected = pa.concat_tables(tables_of(tmp_path / "whole", form))
    for rows, characters in ((7, 10**6), (10**6, 300), (1, 1)):
        monkeypatch.setattr("sentune.bulk.encode._ROWS", rows)
        monkeypatch.setattr("sentune.bulk.encode._CHARACTERS", characters)
        out = tmp_path / f"out-{rows}-{characters}"
        encode(source, model, out, format=form)
        groups = pq.ParquetFile(next(out.glob("shard-00000*.parquet"))).metadata.num_row_groups
        assert groups == {7: 5, 1: 30}.get(rows, groups) and groups > 3
        found = pa.concat_tables(tables_of(out, form))
        assert found.drop_columns("embedding").equals(expected.drop_columns("embedding"))
        vectors = [np.stack(table["embedding"].to_numpy()) for table in (found, expected)]
        np.testing.assert_allclose(*vectors, atol=1e-6)


def tables_of(folder, form):
    if form == "parquet":
        return tables(folder)
    found = []
    for path in sorted(folder.glob("*.npy")):
        rest = pq.read_table(path.with_suffix(".rows.parquet"))
        found.append(rest.append_column("embedding", [list(np.load(path))]))
    return found


def test_embeddings_that_are_not_finite_are_named(source, model, tmp_path):
    import torch

    broken = static()
    with torch.no_grad():
        broken[0].embedding.weight[broken.tokenizer.token_to_id("cat")] = float("nan")
    texts = [one.text for one in Corpus.open(source)]
    found = encode(source, broken, tmp_path / "out", shard_rows=200)
    assert found.failed == sum("cat" in text.split() for text in texts) > 5
    line = (tmp_path / "out" / "shard-00000.errors.jsonl").read_text().splitlines()[0]
    assert json.loads(line)["problem"] == "its embedding is not finite"
    assert np.isfinite(np.stack(tables(tmp_path / "out")[0]["embedding"].to_numpy())).all()
    # Nor does a shard of nothing else stop the rest.
    (tmp_path / "few.jsonl").write_text('{"text": "dog"}\n{"text": "cat"}\n{"text": "tree"}\n')
    found = bulk.encode_corpus(tmp_path / "few.jsonl", broken, tmp_path / "few", shard_rows=1)
    assert (found.rows, found.failed, found.missing) == (2, 1, [])
    with torch.no_grad():
        broken[0].embedding.weight[:] = float("nan")
    with pytest.raises(ModelFileError, match="all embeddings are NaN"):
        encode(source, broken, tmp_path / "none")


def test_columns_with_the_names_of_the_output_are_kept(model, tmp_path):
    rows = [{"id": 1, "text": "a", "body": "x", "embedding": 0.5}, {"id": 1, "text": "b"}]
    source = tmp_path / "corpus.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    encode(source, model, tmp_path / "out", text="body")
    (table,) = tables(tmp_path / "out")
    found = table.drop_columns("embedding").to_pylist()
    assert found == [
        {
            "id": "corpus.jsonl:0",
            "text": "x",
            "metadata_id": 1,
            "metadata_text": "a",
            "metadata_embedding": 0.5,
        }
    ]


def test_any_process_can_do_any_shard(source, model, tmp_path):
    encode(source, model, tmp_path / "whole")
    model.save(str(tmp_path / "model"))
    out = tmp_path / "out"
    job = bulk.Job.start(source, tmp_path / "model", out, reading=reading())
    for number in (3, 1):
        assert bulk.encode_shard(job, number).rows == job.corpus.shards[number].rows
    other = bulk.Job.open(out)
    assert other.missing() == [0, 2] and bulk.finish(other) == [0, 2]
    assert bulk.encode_shard(other, 1) == (1, 30, 0)  # there already
    assert not (out / "complete.json").exists()
    for number in other.missing():
        bulk.encode_shard(other, number)
    assert bulk.finish(other) == []
    ours, theirs = content(out), content(tmp_path / "whole")
    for found in (ours, theirs):
        found.pop(MANIFEST)  # the name of the model
    assert ours == theirs


def reading():
    from sentune.bulk.job import CorpusOptions

    return CorpusOptions(shard_rows=30)


def test_of_several_who_start_a_job_the_first_ones_manifest_counts(source, model, tmp_path):
    out = tmp_path / "out"
    storage = storage_at(out)
    assert storage.once("x", b"one") == storage.once("x", b"two") == b"one"
    first = bulk.Job.start(source, model, out, bulk.Settings(precision="int8"))
    text = (out / MANIFEST).read_text()
    number = str(first.manifest["ranges"][0][0])
    with pytest.MonkeyPatch.context() as patch:  # another starts before it is there, and ends after
        patch.setattr("sentune.bulk.job._manifest_in", lambda storage: None)
        (out / MANIFEST).write_text(text.replace(number, "-77.0"))
        second = bulk.Job.start(source, model, out, bulk.Settings(precision="int8"))
        assert second.manifest["ranges"][0][0] == -77.0
        with pytest.raises(SettingError, match="precision was 'int8' and is 'float32'"):
            bulk.Job.start(source, model, out)


def test_a_job_refuses_another_model(source, model, tmp_path):
    model.save(str(tmp_path / "model"))
    bulk.Job.start(source, tmp_path / "model", tmp_path / "out")
    static(1).save(str(tmp_path / "model"))
    with pytest.raises(SettingError, match="model was .*model .* and is "):
        bulk.encode_shard(bulk.Job.open(tmp_path / "out"), 0)
    bulk.Job.start(source, model, tmp_path / "memory")
    with pytest.raises(SettingError, match="a model in memory; give it"):
        bulk.encode_shard(bulk.Job.open(tmp_path / "memory"), 0)
    assert bulk.encode_shard(bulk.Job.open(tmp_path / "memory", model=model), 0).rows == 100
    with pytest.raises(SettingError, match="has no manifest.json"):
        bulk.Job.open(tmp_path / "nowhere")


def test_shares_make_the_whole(source, model, tmp_path, monkeypatch):
    encode(source, model, tmp_path / "whole")
    first = encode(source, model, tmp_path / "out", share=bulk.Share.parse("1/3"))
    assert first.missing == [1, 2] and first.rows == 40
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in (2, 1):
        monkeypatch.setenv("RANK", str(rank))
        last = encode(source, model, tmp_path / "out")
    assert last.missing == []
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    for wrong in ("0/3", "4/3", "x", "1"):
        with pytest.raises(SettingError, match="share"):
            bulk.Share.parse(wrong)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_shard_of_an_encoder_depends_on_nothing_but_itself(dtype, tiny_model, tmp_path):
    """Neither on what the model did before nor on the shards around it."""
    source, folder = tmp_path / "corpus.jsonl", tmp_path / "model"
    write_corpus(source, rows=300)
    tiny_model.save(str(folder))
    encode(source, folder, tmp_path / "whole", shard_rows=70, dtype=dtype)
    for number in (4, 1, 0, 3, 2):
        share = bulk.Share(number, 5)
        encode(source, folder, tmp_path / "parts", shard_rows=70, dtype=dtype, share=share)
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


def test_object_storage_is_written_to(source, model, tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/in/corpus.jsonl", source.read_bytes())
    for form in ("parquet", "npy"):
        address = f"memory://out-{form}"
        assert encode("memory://in", model, address, format=form).rows == 100
        encode(source, model, tmp_path / form, format=form)
        found = {path.rpartition("/")[2]: memory.cat(path) for path in memory.find(f"/out-{form}")}
        local = content(tmp_path / form)
        assert found.pop(MANIFEST) and local.pop(MANIFEST)  # the source, and its files' hashes
        assert found == local
        memory.rm(f"/out-{form}/shard-00002.{form}")
        assert encode("memory://in", model, address, format=form).rows == 30
        assert memory.cat(f"/out-{form}/shard-00002.{form}") == local[f"shard-00002.{form}"]
        assert bulk.Job.open(address).missing() == []


def test_object_storage_that_cannot_be_reached_is_a_clear_error(source, model, monkeypatch):
    import fsspec

    system = type(fsspec.filesystem("memory"))

    def fail(*_, **__):
        raise RuntimeError("no credentials\nmore")

    with monkeypatch.context() as patch:
        patch.setattr(system, "ls", fail)
        with pytest.raises(OutputError, match="memory://o cannot be reached: no credentials; che"):
            encode(source, model, "memory://o")
    with monkeypatch.context() as patch:
        patch.setattr(system, "find", fail)
        with pytest.raises(DatasetError, match="memory://i cannot be opened: no credentials"):
            encode("memory://i", model, "memory://o")
    with pytest.raises(OutputError, match="nothing://o cannot be reached: Protocol not known"):
        encode(source, model, "nothing://o")


def test_devices_are_checked(source, model, tmp_path):
    for name in ("cuda:77", "mps:9", "what"):
        with pytest.raises(SettingError, match=f"'{name}'.* there are cpu"):
            encode(source, model, tmp_path / "out", device=name)


def test_int8_needs_texts_and_settings_are_checked(source, model, tmp_path):
    (tmp_path / "one.jsonl").write_text('{"text": "a cat"}')
    with pytest.raises(DatasetError, match="fewer than 2"):
        encode(tmp_path / "one.jsonl", model, tmp_path / "out", precision="int8")
    for name in ("precision", "format"):
        with pytest.raises(SettingError, match=f"{name} must be one of"):
            encode(source, model, tmp_path / "out", **{name: "int4"})
    with pytest.raises(SettingError, match="truncate_dim must be"):
        encode(source, model, tmp_path / "out", truncate_dim=0)
    with pytest.raises(SettingError, match=r"must be at most 8, the dimensions .* got 1000; leave"):
        encode(source, model, tmp_path / "out", truncate_dim=1000)
    assert not (tmp_path / "out").exists()


def test_a_job_of_an_older_manifest_goes_on_where_no_part_was_named(source, model, tmp_path):
    encode(source, model, tmp_path / "out")
    path = tmp_path / "out" / MANIFEST
    path.write_text(path.read_text().replace('"split": null', '"split": "train"'))
    assert encode(source, model, tmp_path / "out").rows == 0
    assert json.loads(path.read_text())["corpus"]["asked"]["split"] == "train"
