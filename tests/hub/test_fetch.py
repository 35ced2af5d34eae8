"""Models by name: which files are fetched, from where, and what an error says."""

import types
from pathlib import Path

import pytest
from huggingface_hub import errors

from sentune.disk.downloads import snapshot_of
from sentune.errors import HubError, UntrustedCodeError
from sentune.hub import fetch as hub
from sentune.hub.fetch import Access
from tests.files import folders
from tests.files.folders import load

COMMIT = "0123456789abcdef0123456789abcdef01234567"

REPOSITORY = [
    ".gitattributes",
    "1_Pooling/config.json",
    "2_Dense/config.json",
    "2_Dense/model.safetensors",
    "2_Dense/pytorch_model.bin",
    "3_Dense/config.json",
    "3_Dense/pytorch_model.bin",
    "README.md",
    "checkpoint-500/config.json",
    "checkpoint-500/model.safetensors",
    "config.json",
    "config_sentence_transformers.json",
    "flax_model.msgpack",
    "merges.txt",
    "model.safetensors",
    "modeling.py",
    "modules.json",
    "onnx/config.json",
    "onnx/model.onnx",
    "openvino/openvino_model.bin",
    "optimizer.pt",
    "picture.png",
    "pytorch_model.bin",
    "rust_model.ot",
    "sentence_bert_config.json",
    "sentencepiece.bpe.model",
    "tf_model.h5",
    "tokenizer.json",
    "tokenizer_config.json",
    "trainer_state.json",
    "training_args.bin",
]
NEEDED = [
    "1_Pooling/config.json",
    "2_Dense/config.json",
    "2_Dense/model.safetensors",
    "3_Dense/config.json",
    "3_Dense/pytorch_model.bin",
    "README.md",
    "config.json",
    "config_sentence_transformers.json",
    "merges.txt",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "sentencepiece.bpe.model",
    "tokenizer.json",
    "tokenizer_config.json",
]


def test_only_needed_files_are_fetched_and_weights_in_one_format():
    assert hub.needed(REPOSITORY) == NEEDED


def test_code_is_fetched_where_it_may_run():
    assert hub.needed(REPOSITORY, with_code=True) == sorted([*NEEDED, "modeling.py"])


def test_shards_are_fetched_with_their_index():
    safe = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = ["model.safetensors.index.json", "pytorch_model.bin.index.json"]
    pickles = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    assert set(hub.needed([*safe, *index, *pickles])) == {*safe, *index}
    assert set(hub.needed([*pickles, index[1]])) == {*pickles, index[1]}


def test_every_kind_of_vocabulary_is_fetched():
    names = [
        "vocab.txt",
        "bpe.codes",
        "dict.txt",
        "prophetnet.tokenizer",
        "a.tiktoken",
        "spm.model",
    ]
    names += ["merges.bpe", "additional_chat_templates/a.jinja"]
    assert set(hub.needed([*names, "a.csv", "b.tokens.bin"])) == set(names)


@pytest.fixture
def cache(tiny_bert_folder, tmp_path):
    """A cache as the Hub's client keeps it: blobs, and a snapshot of links to them."""

    def add(repo_id):
        repository = tmp_path / f"cache/models--{repo_id.replace('/', '--')}"
        plain = folders.v6(tiny_bert_folder, tmp_path / f"plain{len(list(tmp_path.iterdir()))}")
        snapshot = repository / "snapshots" / COMMIT
        (repository / "blobs").mkdir(parents=True)
        folders.write(repository / "refs/main", COMMIT)
        for number, path in enumerate(p for p in plain.rglob("*") if p.is_file()):
            link = snapshot / path.relative_to(plain)
            link.parent.mkdir(parents=True, exist_ok=True)
            path.rename(repository / "blobs" / str(number))
            up = "../" * len(link.relative_to(repository).parent.parts)
            link.symlink_to(f"{up}blobs/{number}")
        return snapshot

    add.folder = str(tmp_path / "cache")
    return add


def test_a_cached_model_loads_by_name_without_the_hub(cache):
    snapshot = cache("owner/model")
    for options in ({"local_files_only": True}, {}):  # the tests themselves are offline
        loaded = load("owner/model", cache_folder=cache.folder, **options)
        assert loaded.folder == snapshot
        assert len(loaded.modules) == 3


def test_a_cached_model_loads_by_revision_and_by_its_folder(cache):
    snapshot = cache("owner/model")
    assert load("owner/model", revision=COMMIT, cache_folder=cache.folder).folder == snapshot
    assert load(snapshot).modules.keys() == {"0", "1", "2"}
    with pytest.raises(HubError, match="at revision 'other' is not in the cache"):
        load("owner/model", revision="other", cache_folder=cache.folder)


def test_a_plain_name_is_looked_for_where_the_known_models_are(cache):
    plain = cache("model")
    assert load("model", cache_folder=cache.folder).folder == plain
    owned = cache("sentence-transformers/model")
    assert load("model", cache_folder=cache.folder).folder == owned


@pytest.mark.parametrize("to", ["outside.json", "cache/models--owner--other/blobs/0"])
def test_links_out_of_the_repository_are_refused(cache, tmp_path, to):
    snapshot = cache("owner/model")
    folders.write(tmp_path / to, {})
    (snapshot / "sentence_bert_config.json").unlink()
    (snapshot / "sentence_bert_config.json").symlink_to(tmp_path / to)
    for options in ({"local_files_only": True}, {"revision": COMMIT}):
        with pytest.raises(ValueError, match="sentence_bert_config.json: the link leads out"):
            load("owner/model", cache_folder=cache.folder, **options)
    with pytest.raises(ValueError, match="sentence_bert_config.json: the link leads out"):
        load(snapshot)


def test_the_cache_may_keep_its_content_on_another_disk(cache, tmp_path):
    """People move `blobs`, or a whole repository, to where there is room, and leave a link."""
    blobs = cache("owner/model").parents[1] / "blobs"
    blobs.rename(tmp_path / "other disk")
    blobs.symlink_to(tmp_path / "other disk")
    assert load("owner/model", cache_folder=cache.folder).modules
    repository = blobs.parent
    repository.rename(tmp_path / "a third one")
    repository.symlink_to(tmp_path / "a third one")
    assert load("owner/model", cache_folder=cache.folder).modules


@pytest.mark.parametrize("is_marked", [True, False])
def test_repositories_of_the_cache_may_share_content_as_the_client_does(cache, is_marked):
    """A blob can be a link into a folder that the Hub's client has marked as its own."""
    snapshot = cache("owner/model")
    shared = Path(cache.folder) / "blobs" / "00"
    shared.mkdir(parents=True)
    if is_marked:
        folders.write(shared.parent / ".huggingface-shared-blobs", "1")
    for blob in (snapshot.parents[1] / "blobs").iterdir():
        blob.rename(shared / blob.name)
        blob.symlink_to(f"../../blobs/00/{blob.name}")
    if is_marked:
        assert load("owner/model", cache_folder=cache.folder).modules
    else:
        with pytest.raises(ValueError, match="the link leads out"):
            load("owner/model", cache_folder=cache.folder)


def test_a_snapshot_says_what_it_is(cache, tmp_path):
    snapshot = cache("owner/model")
    found = snapshot_of(snapshot)
    assert found == Access(cache_folder=cache.folder).fetch("owner/model")
    assert (found.path, found.repo_id, found.commit) == (snapshot, "owner/model", COMMIT)
    assert found.roots == (snapshot, snapshot.parents[1] / "blobs")
    assert snapshot_of(snapshot / "1_Pooling") == found
    (tmp_path / "link").symlink_to(snapshot)
    assert snapshot_of(tmp_path / "link") == found
    for path in (tmp_path, snapshot.parent, snapshot.parents[1], Path("owner/model")):
        assert snapshot_of(path) is None


def test_models_that_were_trained_without_their_prompts_pooled_are_known(cache):
    cache("hkunlp/instructor-base")
    cache("owner/model")
    names = ("hkunlp/instructor-base", "owner/model")
    loaded = [load(name, cache_folder=cache.folder).modules["1"] for name in names]
    assert [pooling.include_prompt for pooling in loaded] == [False, True]


class Server:
    """Stands for the Hub: what it is asked, and what it answers."""

    def __init__(self, monkeypatch, folder, files=REPOSITORY):
        self.asked, self.fetched = [], []
        self.folder, self.files, self.failures = folder, files, {}
        monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hub, "HfApi", lambda token=None: self)
        monkeypatch.setattr(hub, "snapshot_download", self.download)

    def model_info(self, name, revision=None):
        self.asked.append((name, revision))
        if name in self.failures:
            raise self.failures[name]
        files = [types.SimpleNamespace(rfilename=name) for name in self.files]
        return types.SimpleNamespace(siblings=files)

    def download(self, repo_id, **options):
        self.fetched.append((repo_id, options))
        if options["local_files_only"] and self.folder is None:
            raise errors.LocalEntryNotFoundError("not here")
        return str(self.folder)


def answer(kind, status):
    return kind("no", response=types.SimpleNamespace(status_code=status, headers={}, request=None))


def fetch(name, **options):
    return Access(**options).fetch(name).path


def test_the_callers_access_reaches_the_hub(monkeypatch, tmp_path):
    server = Server(monkeypatch, tmp_path)
    assert fetch("a/b", revision="v1", token="t", cache_folder="c") == tmp_path
    assert server.asked == [("a/b", "v1")]
    ((name, options),) = server.fetched
    assert name == "a/b"
    assert options == {
        "revision": "v1",
        "token": "t",
        "cache_dir": "c",
        "local_files_only": False,
        "allow_patterns": NEEDED,
    }


def test_only_the_cache_is_asked_where_that_is_wished(monkeypatch, tmp_path):
    server = Server(monkeypatch, tmp_path)
    assert fetch("a/b", local_files_only=True) == tmp_path
    assert server.asked == []
    assert server.fetched[0][1]["local_files_only"] is True


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (answer(errors.RepositoryNotFoundError, 404), "neither a folder here nor a model"),
        (answer(errors.RepositoryNotFoundError, 401), "hf auth login"),
        (answer(errors.GatedRepoError, 403), "accept its terms"),
        (answer(errors.RevisionNotFoundError, 404), "no revision 'v1'"),
        (answer(errors.HfHubHTTPError, 429), "refused the model"),
        (errors.HFValidationError("bad name"), "a name a model can have: bad name"),
        (errors.LocalTokenNotFoundError("no token"), "nobody is logged in"),
    ],
)
def test_what_the_hub_refuses_is_explained(failure, says, monkeypatch, tmp_path):
    server = Server(monkeypatch, tmp_path)
    server.failures["a/b"] = failure
    with pytest.raises(HubError, match=says) as caught:
        fetch("a/b", revision="v1")
    assert "a/b" in str(caught.value) or "logged in" in says
    assert caught.value.__cause__ is failure
    missing = ("neither", "auth login", "no revision", "can have")
    is_missing = any(words in says for words in missing)
    assert isinstance(caught.value, FileNotFoundError) == is_missing


def test_a_full_disk_is_explained(monkeypatch, tmp_path):
    server = Server(monkeypatch, tmp_path)

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hub, "snapshot_download", full)
    with pytest.raises(HubError, match="'a/b' could not be downloaded.*space on the disk"):
        fetch("a/b")
    assert server.asked


@pytest.mark.parametrize(
    "failure",
    [
        answer(errors.HfHubHTTPError, 503),
        errors.OfflineModeIsEnabled("offline"),
        errors.HfHubHTTPError.__bases__[0]("connection refused"),
    ],
)
def test_without_the_hub_the_cache_is_used(failure, monkeypatch, tmp_path, caplog):
    server = Server(monkeypatch, tmp_path)
    server.failures["a/b"] = failure
    assert fetch("a/b") == tmp_path
    assert "cannot be reached" in caplog.text
    server.folder = None
    with pytest.raises(HubError, match="'a/b' is not in the cache, and the Hub was not reached"):
        fetch("a/b")


def test_a_plain_name_falls_back_only_when_there_is_no_such_model(monkeypatch, tmp_path):
    server = Server(monkeypatch, tmp_path)
    server.failures["sentence-transformers/bert"] = answer(errors.RepositoryNotFoundError, 404)
    assert fetch("bert") == tmp_path
    assert [name for name, _ in server.asked] == ["sentence-transformers/bert", "bert"]
    server.failures["sentence-transformers/bert"] = answer(errors.RevisionNotFoundError, 404)
    with pytest.raises(HubError, match="no revision"):
        fetch("bert", revision="v9")


def test_a_plain_name_that_is_nowhere_says_so(monkeypatch, tmp_path):
    server = Server(monkeypatch, tmp_path)
    for name in ("sentence-transformers/nothing", "nothing"):
        server.failures[name] = answer(errors.RepositoryNotFoundError, 404)
    with pytest.raises(HubError, match="'nothing' is neither a folder here nor a model on"):
        fetch("nothing")


def test_code_of_a_model_on_the_hub_is_not_even_fetched(monkeypatch, tmp_path, tiny_bert_folder):
    folder = folders.v6(tiny_bert_folder, tmp_path / "model")
    entries = folders.read(folder / "modules.json")
    entries[2]["type"] = "modeling.Evil"
    folders.write(folder / "modules.json", entries)
    server = Server(monkeypatch, Path(folder))
    with pytest.raises(UntrustedCodeError):
        load("a/b")
    assert "modeling.py" not in server.fetched[0][1]["allow_patterns"]
