"""A model goes to the Hub and comes back by its name; what fails leaves nothing half done.

The Hub's own client talks to `tests.hub_server` on this machine.
"""

import errno
import os
import subprocess
import sys
import time
import types
from importlib.util import find_spec
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import HfApi, constants
from torch.utils.data import DataLoader

import sentune
from sentune.data.example import InputExample
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import HubError, SettingError, UntrustedCodeError
from sentune.files import save as files_save
from sentune.losses import MultipleNegativesRankingLoss
from sentune.models import Dense, Normalize
from tests.engine.test_classification_heads import classifier
from tests.files.folders import change, read, write
from tests.hub_server import HubServer

TOKEN = "alice-token"
NAME = "alice/tiny"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub, with the client of this process pointed at it and nobody logged in."""
    with HubServer() as server:
        template = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        # The client waits between its attempts.
        clock = types.SimpleNamespace(**{**vars(time), "sleep": lambda _seconds: None})
        monkeypatch.setattr("huggingface_hub.utils._http.time", clock)
        yield server
        huggingface_hub.close_session()


@pytest.fixture
def load(tmp_path):
    def load(name=NAME, cache="cache", token=TOKEN, **options):
        folder = str(tmp_path / cache)
        return SentenceTransformer(name, cache_folder=folder, token=token, **options)

    return load


def vectors(model):
    return model.encode(["the cat sat on the mat", "a dog"])


def asked(hub):
    return [request for request in hub.requests if "agent-harnesses" not in request]


def test_a_pushed_model_comes_back_by_its_name(hub, tiny_model, load):
    url = tiny_model.push_to_hub(NAME, token=TOKEN)
    assert url == f"{hub.endpoint}/{NAME}/commit/{hub.repos[NAME].refs['main']}"
    assert [info.rfilename for info in HfApi(token=TOKEN).model_info(NAME).siblings] == [
        ".gitattributes",
        "1_Pooling/config.json",
        "README.md",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert hub.repos[NAME].commits[hub.repos[NAME].refs["main"]]["model.safetensors"].is_large
    assert len(hub.commits(NAME)) == 2  # the first is the repository's own
    np.testing.assert_array_equal(vectors(load()), vectors(tiny_model))


def test_a_name_alone_is_put_under_the_users_own(hub, tiny_model, load):
    Path(constants.HF_TOKEN_PATH).write_text(TOKEN)  # as `hf auth login` leaves it
    tiny_model.push_to_hub("tiny")
    card = hub.files(NAME)["README.md"].decode()
    assert 'SentenceTransformer("alice/tiny")' in card
    np.testing.assert_array_equal(vectors(load(token=None)), vectors(tiny_model))


@pytest.mark.parametrize("kind", ["SentenceTransformer", "CrossEncoder"])
def test_a_model_of_any_kind_loads_by_its_plain_name_and_is_looked_for_once(
    kind, hub, tiny_model, tmp_path
):
    model, owner = tiny_model, "sentence-transformers"
    if kind == "CrossEncoder":
        classifier(tmp_path / "base", "bert", 1)
        model, owner = sentune.CrossEncoder(str(tmp_path / "base"), device="cpu"), "cross-encoder"
    hub.writers[TOKEN][1].add(owner)
    model.push_to_hub(f"{owner}/tiny", token=TOKEN)
    options = {"cache_folder": str(tmp_path / "cache"), "token": TOKEN}
    sentune.load("tiny", **options)
    hub.requests.clear()
    loaded = sentune.load("tiny", **options)
    assert type(loaded).__name__ == kind
    listed = [one for one in asked(hub) if one.startswith(f"GET /api/models/{owner}/tiny")]
    assert listed and len(set(listed)) == len(listed)
    assert loaded.model_card_data.base_model == f"{owner}/tiny"


def test_save_to_hub_of_the_guide(hub, tiny_model):
    tiny_model.save_to_hub(
        "tiny", organization="acme", token=TOKEN, train_datasets=["embedding-data/QQP_triplets"]
    )
    card = hub.files("acme/tiny")["README.md"].decode()
    assert "datasets:\n- embedding-data/QQP_triplets\n" in card
    tiny_model.save_to_hub("acme/other", "acme", TOKEN, True)
    assert hub.repos["acme/other"].private
    with pytest.raises(SettingError, match="not under organization='acme'"):
        tiny_model.save_to_hub("alice/tiny", "acme", TOKEN)


def test_an_old_revision_loads_by_its_commit_and_then_without_a_request(hub, tiny_model, load):
    tiny_model.push_to_hub(NAME, token=TOKEN)
    old, first = vectors(tiny_model), hub.repos[NAME].refs["main"]
    tiny_model.append(Normalize())
    tiny_model[0].auto_model.embeddings.word_embeddings.weight.data.mul_(1.5)
    tiny_model.push_to_hub(NAME, token=TOKEN, exist_ok=True, commit_message="Better")
    assert hub.commits(NAME)[-1] == "Better"
    np.testing.assert_array_equal(vectors(load()), vectors(tiny_model))
    assert not np.allclose(vectors(tiny_model), old)
    np.testing.assert_array_equal(vectors(load(revision=first)), old)
    hub.requests.clear()
    np.testing.assert_array_equal(vectors(load(revision=first)), old)
    np.testing.assert_array_equal(vectors(load(local_files_only=True)), vectors(tiny_model))
    assert asked(hub) == []


def test_an_unfinished_download_of_a_commit_is_finished(hub, tiny_model, load, tmp_path):
    tiny_model.push_to_hub(NAME, token=TOKEN)
    commit = hub.repos[NAME].refs["main"]
    load(revision=commit)
    (snapshot,) = (tmp_path / "cache").glob(f"models--*/snapshots/{commit}")
    (snapshot / "1_Pooling/config.json").unlink()
    np.testing.assert_array_equal(vectors(load(revision=commit)), vectors(tiny_model))


def test_what_is_in_the_cache_is_not_downloaded_again(hub, tiny_model, load):
    tiny_model.push_to_hub(NAME, token=TOKEN)
    load()
    hub.requests.clear()
    load()
    assert asked(hub) == [f"GET /api/models/{NAME}", f"GET /api/models/{NAME}/revision/main"]


def test_without_the_hub_the_cache_is_used(hub, tiny_model, load, monkeypatch):
    tiny_model.push_to_hub(NAME, token=TOKEN)
    load()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    np.testing.assert_array_equal(vectors(load()), vectors(tiny_model))
    assert asked(hub) == []
    with pytest.raises(HubError, match="not in the cache.*load it once with a network"):
        load(cache="empty")


def test_a_model_that_is_there_is_replaced_only_when_asked(hub, tiny_model):
    tiny_model.push_to_hub(NAME, token=TOKEN)
    before = hub.files(NAME)
    with pytest.raises(HubError, match="'alice/tiny' on the Hub already; pass exist_ok=True"):
        tiny_model.push_to_hub(NAME, token=TOKEN)
    assert hub.files(NAME) == before


def test_a_card_written_on_the_hub_stays_unless_it_is_to_be_replaced(hub, tiny_model):
    tiny_model.push_to_hub(NAME, token=TOKEN)
    api = HfApi(token=TOKEN)
    api.upload_file(path_or_fileobj=b"# Mine", path_in_repo="README.md", repo_id=NAME)
    tiny_model.push_to_hub(NAME, token=TOKEN, exist_ok=True)
    assert hub.files(NAME)["README.md"] == b"# Mine"
    tiny_model.push_to_hub(NAME, token=TOKEN, exist_ok=True, replace_model_card=True)
    assert b"pipeline_tag: sentence-similarity" in hub.files(NAME)["README.md"]


def test_a_card_that_sentune_made_and_nobody_changed_is_replaced(hub, tiny_model, caplog):
    tiny_model.push_to_hub(NAME, token=TOKEN)
    first = hub.files(NAME)["README.md"].decode()
    tiny_model.model_card_data.license = "mit"
    tiny_model.push_to_hub(NAME, token=TOKEN, exist_ok=True)
    second = hub.files(NAME)["README.md"].decode()
    assert "license: mit" in second and "license: mit" not in first
    assert not caplog.records
    api = HfApi(token=TOKEN)
    by_hand = second.replace("This model maps", "Our model maps")
    api.upload_file(path_or_fileobj=by_hand.encode(), path_in_repo="README.md", repo_id=NAME)
    tiny_model.push_to_hub(NAME, token=TOKEN, exist_ok=True)
    assert hub.files(NAME)["README.md"].decode() == by_hand
    assert "--replace-card" in caplog.text and "replace_model_card=True" in caplog.text


def test_what_is_to_be_private_does_not_go_to_a_public_repository(hub, tiny_model):
    tiny_model.push_to_hub(NAME, token=TOKEN)
    before = hub.files(NAME)
    for how in ({"exist_ok": True}, {"create_pr": True}):
        with pytest.raises(HubError, match="to be private, and that repository is public"):
            tiny_model.push_to_hub(NAME, token=TOKEN, private=True, **how)
    assert hub.files(NAME) == before and len(hub.commits(NAME)) == 2
    tiny_model.push_to_hub("alice/own", token=TOKEN, private=True)
    tiny_model.push_to_hub("alice/own", token=TOKEN, private=True, exist_ok=True)


def test_a_branch_with_a_model_is_replaced_only_when_asked_and_a_new_one_is_made(hub, tiny_model):
    tiny_model.push_to_hub(NAME, token=TOKEN, revision="dev")
    with pytest.raises(HubError, match=r"already \(branch 'dev'\)"):
        tiny_model.push_to_hub(NAME, token=TOKEN, revision="dev")
    tiny_model.push_to_hub(NAME, token=TOKEN)  # nothing is on the main branch
    tiny_model.push_to_hub(NAME, token=TOKEN, revision="other")


def test_a_pull_request_makes_no_repository(hub, tiny_model):
    with pytest.raises(HubError, match="no such repository to propose a change to"):
        tiny_model.push_to_hub(NAME, token=TOKEN, create_pr=True)
    assert not hub.repos


@pytest.mark.parametrize(
    "card", [b"caf\xe9", b"---\nlicense: [apache\n---\nx", b"---\nlicense: my own\n---\nx"]
)
def test_with_a_card_that_is_refused_no_repository_is_made(card, hub, tiny_model, tmp_path):
    tiny_model.save(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_bytes(card)
    with pytest.raises(HubError, match="README.md"):
        tiny_model.push_to_hub(NAME, token=TOKEN, local_model_path=str(tmp_path / "model"))
    assert not hub.repos


def test_a_repository_that_was_made_in_vain_is_said(hub, tiny_model):
    hub.fail("POST", "/commit/", 500)
    with pytest.raises(HubError, match="was made for it and is empty; the same push fills it"):
        tiny_model.push_to_hub(NAME, token=TOKEN)


def test_files_of_the_model_before_go_and_others_stay(hub, tiny_model, load):
    tiny_model.append(Dense(32, 8))
    tiny_model.push_to_hub(NAME, token=TOKEN)
    api = HfApi(token=TOKEN)
    for name in ("notes.txt", "data/config.json"):
        api.upload_file(path_or_fileobj=b"{}", path_in_repo=name, repo_id=NAME)
    assert {"2_Dense/model.safetensors", "model.safetensors"} <= hub.files(NAME).keys()
    model = SentenceTransformer(modules=list(tiny_model)[:2])
    model.push_to_hub(NAME, token=TOKEN, exist_ok=True, safe_serialization=False)
    files = hub.files(NAME).keys()
    assert "pytorch_model.bin" in files
    assert not {"2_Dense/model.safetensors", "model.safetensors"} & files
    assert {"notes.txt", "data/config.json"} <= files
    np.testing.assert_array_equal(vectors(load()), vectors(model))


def test_a_pull_request_leaves_the_model_as_it_is(hub, tiny_model, load):
    tiny_model.push_to_hub(NAME, token=TOKEN)
    before = hub.files(NAME)
    tiny_model[0].auto_model.embeddings.word_embeddings.weight.data.mul_(1.5)
    url = tiny_model.push_to_hub(NAME, token="bob-token", create_pr=True)
    assert url == f"{hub.endpoint}/{NAME}/discussions/1"
    assert hub.files(NAME) == before
    np.testing.assert_array_equal(vectors(load(revision="refs/pr/1")), vectors(tiny_model))
    with pytest.raises(SettingError, match="for the main branch; got revision='dev'"):
        tiny_model.push_to_hub(NAME, token=TOKEN, create_pr=True, revision="dev")


def test_a_branch_is_made_where_it_is_not_there(hub, tiny_model, load):
    tiny_model.push_to_hub(NAME, token=TOKEN, revision="dev")
    assert hub.files(NAME).keys() == {".gitattributes"}
    np.testing.assert_array_equal(vectors(load(revision="dev")), vectors(tiny_model))
    tiny_model.push_to_hub(NAME, token=TOKEN, revision="dev", exist_ok=True)


def test_a_folder_is_pushed_as_it_is(hub, tiny_model, tmp_path):
    tiny_model.save(tmp_path / "model")
    (tmp_path / "model/README.md").write_text("# By hand")
    (tmp_path / "model/.git").mkdir()
    (tmp_path / "model/.git/config").write_text("secret")
    tiny_model.push_to_hub(NAME, token=TOKEN, local_model_path=str(tmp_path / "model"))
    files = hub.files(NAME)
    assert files["README.md"] == b"# By hand"
    assert "model.safetensors" in files
    assert not any(name.startswith(".git/") for name in files)
    with pytest.raises(SettingError, match="there is no folder"):
        tiny_model.push_to_hub("alice/new", token=TOKEN, local_model_path=str(tmp_path / "no"))


def test_a_private_model_is_seen_with_the_owners_token_only(hub, tiny_model, load):
    tiny_model.push_to_hub(NAME, token=TOKEN, private=True)
    np.testing.assert_array_equal(vectors(load()), vectors(tiny_model))
    for token in (False, "bob-token"):
        with pytest.raises(HubError, match="If it is private, log in with `hf auth login`"):
            load(cache="other", token=token)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "log in with `hf auth login`.*notebook_login.*or pass token="),
        ({"token": "made-up"}, "the token must be valid"),
        ({"token": "bob-token"}, "may not write there.*settings/tokens"),
        ({"token": True}, "nobody is logged in; log in with `hf auth login`"),
    ],
)
def test_without_the_right_token_it_says_what_to_do(options, says, hub, tiny_model):
    with pytest.raises(HubError, match=rf"not uploaded to 'alice/tiny': .*{says}"):
        tiny_model.push_to_hub(NAME, **options)
    assert NAME not in hub.repos


def test_a_name_that_no_model_can_have_is_refused(hub, tiny_model):
    with pytest.raises(HubError, match="no name a model can have"):
        tiny_model.push_to_hub("alice/not a name", token=TOKEN)


@pytest.mark.parametrize(
    ("method", "path", "kind", "times", "says"),
    [
        ("POST", "/commit/", 500, 1, "nothing has changed there.*500"),
        ("POST", "/commit/", "drop", 1, "check the network and repeat it"),
        ("POST", "/commit/", 429, 1, "too many requests; try again in some minutes"),
        ("POST", "/preupload/", 503, 9, "nothing has changed there.*503"),
        ("POST", "/objects/batch", 429, 9, "too many requests"),
        ("PUT", "/lfs/", 500, 9, "nothing has changed there.*500"),
        ("PUT", "/lfs/", "drop", 9, "check the network and repeat it"),
        ("PUT", "/lfs/", "damage", 1, "BadDigest"),
        ("POST", "/lfs/verify", 404, 1, "no such repository"),
        ("GET", "/tree/", 500, 9, "nothing has changed there.*500"),
        ("POST", "/repos/create", 500, 1, "nothing has changed there.*500"),
        ("POST", "/validate-yaml", 400, 1, "README.md.*model_card_data"),
    ],
)
def test_a_broken_upload_shows_nothing_and_can_be_repeated(
    method, path, kind, times, says, hub, tiny_model, load
):
    hub.fail(method, path, kind, times)
    with pytest.raises(HubError, match=f"(?s)not uploaded to 'alice/tiny': .*{says}"):
        tiny_model.push_to_hub(NAME, token=TOKEN)
    if NAME in hub.repos:
        assert hub.files(NAME).keys() == {".gitattributes"}
    hub.faults.clear()
    tiny_model.push_to_hub(NAME, token=TOKEN)
    np.testing.assert_array_equal(vectors(load()), vectors(tiny_model))


def test_a_broken_upload_over_a_model_leaves_that_model(hub, tiny_model):
    tiny_model.push_to_hub(NAME, token=TOKEN)
    before = hub.files(NAME)
    tiny_model[0].auto_model.embeddings.word_embeddings.weight.data.mul_(1.5)
    hub.fail("PUT", "/lfs/", "damage")
    with pytest.raises(HubError, match="BadDigest"):
        tiny_model.push_to_hub(NAME, token=TOKEN, exist_ok=True)
    assert hub.files(NAME) == before


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [("PUT", "/lfs/", "drop"), ("PUT", "/lfs/", 500), ("POST", "/objects/batch", 429)],
)
def test_one_failure_on_the_way_is_made_good(method, path, kind, hub, tiny_model, load):
    hub.fail(method, path, kind)
    tiny_model.push_to_hub(NAME, token=TOKEN)
    assert len([r for r in hub.requests if r.startswith(method) and path in r]) == 2
    np.testing.assert_array_equal(vectors(load()), vectors(tiny_model))


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/resolve/.*/modules.json", 500),
        ("GET", "/resolve/.*/modules.json", "drop"),
        ("HEAD", "/resolve/.*/config.json", 429),
        ("GET", "/cdn/", 500),
        ("GET", "/cdn/", "damage"),
        ("GET", "/tree/", 500),
    ],
)
def test_a_broken_download_says_so_and_can_be_repeated(method, path, kind, hub, tiny_model, load):
    tiny_model.push_to_hub(NAME, token=TOKEN)
    hub.fail(method, path, kind, 99)
    with pytest.raises(HubError, match="'alice/tiny'"):
        load()
    hub.faults.clear()
    np.testing.assert_array_equal(vectors(load()), vectors(tiny_model))


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        ({"token": "made-up"}, None, "log in with `hf auth login`.*the token must be valid"),
        ({}, 403, "the token may not read it.*settings/tokens"),
        ({}, 429, "too many requests; try again in some minutes"),
        ({}, 418, "try again later"),
    ],
)
def test_a_refused_download_says_what_to_do(options, status, says, hub, tiny_model, load):
    tiny_model.push_to_hub(NAME, token=TOKEN)
    if status is not None:
        hub.fail("GET", "/api/models/", status, 9)
    with pytest.raises(HubError, match=f"(?s)refused the model 'alice/tiny': .*{says}"):
        load(**options)


def test_a_folder_that_holds_nothing_is_refused_before_there_is_a_repository(
    hub, tiny_model, tmp_path
):
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        with pytest.raises(SettingError, match=f"{folder} .*to upload"):
            tiny_model.push_to_hub(NAME, token=TOKEN, local_model_path=str(tmp_path / folder))
    assert NAME not in hub.repos


@pytest.mark.parametrize("name", [None, 5])
def test_a_name_that_is_no_text_is_refused(name, hub, tiny_model):
    with pytest.raises(SettingError, match=f"repo_id must be .*got {name}"):
        tiny_model.push_to_hub(name, token=TOKEN)
    with pytest.raises(SettingError, match=f"repo_id must be .*got {name}"):
        tiny_model.save_to_hub(name, "acme", TOKEN)


def test_no_network_is_explained(hub, tiny_model, monkeypatch, load):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(HubError, match="not uploaded.*check the network and repeat it"):
        tiny_model.push_to_hub(NAME, token=TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set; unset it"):
        tiny_model.push_to_hub(NAME, token=TOKEN)


def test_a_full_disk_is_explained(hub, tiny_model, monkeypatch):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files_save, "save", full)
    with pytest.raises(HubError, match="the disk is full.*free some space, or point TMPDIR"):
        tiny_model.push_to_hub(NAME, token=TOKEN)


CODE = """
import torch

class Twice(torch.nn.Module):
    def forward(self, features):
        return {**features, "sentence_embedding": 2 * features["sentence_embedding"]}
"""


def with_own_code(hub, model, folder, kind):
    """A model on the Hub with a module of its own code."""
    model.save(folder)
    entries = read(folder / "modules.json")
    entries.append({"idx": 2, "name": "2", "path": "2_Twice", "type": kind})
    write(folder / "modules.json", entries)
    write(folder / "2_Twice/config.json", {})
    write(folder / "twice.py", CODE)
    model.push_to_hub(NAME, token=TOKEN, local_model_path=str(folder))
    return hub.repos[NAME].refs["main"]


def test_a_models_own_code_runs_of_the_commit_that_is_named(hub, tiny_model, tmp_path, load):
    commit = with_own_code(hub, tiny_model, tmp_path / "model", "twice.Twice")
    with pytest.raises(UntrustedCodeError, match="twice.Twice"):
        load()
    with pytest.warns(UserWarning, match=f"code of {NAME} at commit {commit} .pass revision="):
        model = load(trust_remote_code=True)
    # The code reads padded tokens, the model itself packed ones: the last bit may differ.
    np.testing.assert_allclose(vectors(model), 2 * vectors(tiny_model), rtol=1e-5, atol=1e-6)
    with pytest.warns(UserWarning, match=f"code of {NAME} at commit {commit}, file twice.py"):
        load(revision=commit, trust_remote_code=True)


def test_code_of_another_repository_is_taken_at_a_commit_that_is_named(
    hub, tiny_model, tmp_path, load
):
    api = HfApi(token=TOKEN)
    api.create_repo("acme/code")
    api.upload_file(path_or_fileobj=CODE.encode(), path_in_repo="twice.py", repo_id="acme/code")
    commit = hub.repos["acme/code"].refs["main"]
    with_own_code(hub, tiny_model, tmp_path / "model", "acme/code--twice.Twice")
    hub.requests.clear()
    with pytest.warns(UserWarning, match=f"code of acme/code at commit {commit}, file twice.py"):
        model = load(trust_remote_code=True)
    # The code reads padded tokens, the model itself packed ones: the last bit may differ.
    np.testing.assert_allclose(vectors(model), 2 * vectors(tiny_model), rtol=1e-5, atol=1e-6)
    taken = [request for request in asked(hub) if "acme/code/resolve" in request]
    assert taken and all(commit in request for request in taken)


ENCODER = """
from transformers import BertConfig, BertModel

class Own(BertModel):
    config_class = BertConfig
"""


@pytest.mark.parametrize("home", ["", "acme/code--"])
def test_an_encoders_code_runs_of_a_commit_that_is_named(home, hub, tiny_model, tmp_path, load):
    """Also where the code lies in another repository, which may change at any time."""
    api = HfApi(token=TOKEN)
    api.create_repo("acme/code")
    tiny_model.save(tmp_path / "model")
    change(tmp_path / "model/config.json", auto_map={"AutoModel": f"{home}own.Own"})
    write(tmp_path / "model/own.py", ENCODER)
    api.upload_file(path_or_fileobj=ENCODER.encode(), path_in_repo="own.py", repo_id="acme/code")
    tiny_model.push_to_hub(NAME, token=TOKEN, local_model_path=str(tmp_path / "model"))
    repo = "acme/code" if home else NAME
    commit = hub.repos[repo].refs["main"]
    assert type(load()[0].auto_model).__name__ == "BertModel"  # transformers has a class for it
    hub.requests.clear()
    with pytest.warns(UserWarning, match=f"the code of {repo} at commit {commit}.*as allowed by"):
        model = load(cache="trusted", trust_remote_code=True)
    assert type(model[0].auto_model).__name__ == "Own"
    np.testing.assert_allclose(vectors(model), vectors(tiny_model), atol=1e-6)
    taken = [request for request in asked(hub) if f"{repo}/resolve" in request and ".py" in request]
    assert taken and all(commit in request for request in taken)


WITH_BOTH = """
import sys, numpy as np
import sentune
TEXTS = ["the cat sat on the mat", "a dog"]
found = [sentune.SentenceTransformer("alice/tiny").encode(TEXTS)]
if "peer" in sys.argv:
    import sentence_transformers
    found.append(sentence_transformers.SentenceTransformer("alice/tiny").encode(TEXTS))
np.save(sys.argv[1], np.stack(found))
"""


def test_one_models_way_from_training_to_its_readers(hub, tiny_model, tmp_path):
    """Trained, pushed, loaded by name by sentune and, where it is there, by sentence-transformers.

    The readers are processes of their own, told of the Hub by environment variables as users do;
    at last offline, from the cache.
    """
    tiny_model.append(Normalize())  # without a file, so that the Hub has no folder of it
    before = vectors(tiny_model)
    examples = [InputExample(texts=["the cat", "cats"]), InputExample(texts=["a dog", "dogs"])]
    objective = (DataLoader(examples, batch_size=2), MultipleNegativesRankingLoss(tiny_model))
    settings = {"warmup_steps": 0, "optimizer_params": {"lr": 1e-2}, "show_progress_bar": False}
    tiny_model.fit([objective], epochs=3, **settings)
    assert np.abs(vectors(tiny_model) - before).max() > 0.01
    tiny_model.push_to_hub(NAME, token=TOKEN)
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
    }
    command = [sys.executable, "-c", WITH_BOTH, str(tmp_path / "found.npy")]
    with_peer = ["peer"] if find_spec("sentence_transformers") is not None else []
    for offline, more in (("0", with_peer), ("1", [])):
        hub.requests.clear()
        environment["HF_HUB_OFFLINE"] = offline
        subprocess.run([*command, *more], env=environment, check=True, capture_output=True)
        for found in np.load(tmp_path / "found.npy"):
            np.testing.assert_allclose(found, vectors(tiny_model), atol=1e-5)
    assert asked(hub) == []  # the last one was offline


def test_code_of_another_repository_that_cannot_be_had_is_an_error_of_the_hub(
    hub, tiny_model, tmp_path
):
    tiny_model.save(str(tmp_path / "model"))
    modules = read(tmp_path / "model" / "modules.json")
    modules[1]["type"] = "owner/nowhere--file.Class"
    write(tmp_path / "model" / "modules.json", modules)
    with pytest.raises(HubError, match="owner/nowhere"):
        SentenceTransformer(str(tmp_path / "model"), trust_remote_code=True)
