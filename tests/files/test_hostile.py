"""Damaged and hostile folders: a clear error that names the file, and nothing run or read."""

import os
import pickle
import zipfile
from types import SimpleNamespace

import pytest
import torch

from sentune import models
from sentune.errors import ModelFileError, SentuneError, UntrustedCodeError
from sentune.files.save import save
from tests import tiny
from tests.files import folders
from tests.files.folders import MODELS, change, listed, load, read, without, write


@pytest.fixture
def folder(tiny_bert_folder, tmp_path):
    path = folders.v2(tiny_bert_folder, tmp_path / "model")
    folders.dense(path / "2_Dense")
    entries = read(path / "modules.json")
    entries[2] = {"idx": 2, "name": "2", "path": "2_Dense", "type": MODELS + "Dense"}
    write(path / "modules.json", entries)
    assert load(path).modules
    return path


def refused(folder, names, error=ModelFileError):
    with pytest.raises(error) as caught:
        load(folder)
    text = str(caught.value)
    for name in [names] if isinstance(names, str) else names:
        assert name in text, text
    return text


class Bomb:
    """Makes a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("home", ["2_Dense", ""])
@pytest.mark.parametrize("writer", [torch.save, lambda x, f: f.write_bytes(pickle.dumps(x, 2))])
def test_a_pickle_that_would_run_code_does_not(home, writer, folder, tmp_path):
    (folder / home / "model.safetensors").unlink()
    bomb = tmp_path / "ran"
    writer({"linear.weight": Bomb(bomb)}, folder / home / "pytorch_model.bin")
    refused(folder, ["pytorch_model.bin", "mkdir"])
    assert not bomb.exists()


def test_a_pickle_beside_safetensors_is_not_opened(folder, tmp_path):
    for home in ("", "2_Dense"):
        torch.save({"a": Bomb(tmp_path / "ran")}, folder / home / "pytorch_model.bin")
    load(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content",
    [
        [torch.ones(2)],
        {"linear.weight": 5},
        {7: torch.ones(2)},
        {"linear.weight": torch.ones(2, 2).to_sparse()},
    ],
)
def test_a_pickle_of_other_things_than_named_tensors_is_refused(content, folder):
    (folder / "2_Dense/model.safetensors").unlink()
    torch.save(content, folder / "2_Dense/pytorch_model.bin")
    refused(folder, "2_Dense/pytorch_model.bin")


@pytest.mark.parametrize(
    "kind",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "torch.nn.modules.linear.Linear",
        "sentune.hub.fetch.Access",
        "sentence_transformers.util.http_get",
        "modeling.Evil",
        "owner/repository--modeling.Evil",
        "",
    ],
)
def test_types_outside_the_table_are_refused_without_being_imported(kind, folder, tmp_path):
    write(folder / "modeling.py", f"import os; os.mkdir({str(tmp_path / 'ran')!r})")
    entries = read(folder / "modules.json")
    entries[2]["type"] = kind
    write(folder / "modules.json", entries)
    refused(folder, ["modules.json", repr(kind), "trust_remote_code=True"], UntrustedCodeError)
    assert not (tmp_path / "ran").exists()


def test_types_inside_a_router_are_refused_too(folder):
    types = {"a_0_X": "os.system"}
    content = {"types": types, "structure": {"a": ["a_0_X"]}, "parameters": {}}
    write(folder / "router_config.json", content)
    write(folder / "modules.json", listed((MODELS + "Router", "")))
    refused(folder, ["router_config.json", "os.system"], UntrustedCodeError)


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../other",
        "2_Dense/../../other",
        "/etc",
        "C:\\other",
        "..\\other",
        "\\\\host\\x",
        "a\0b",
    ],
)
def test_paths_that_leave_the_folder_are_refused(path, folder):
    entries = read(folder / "modules.json")
    entries[2]["path"] = path
    write(folder / "modules.json", entries)
    refused(folder, ["modules.json", "leads out"])


def test_paths_in_a_router_that_leave_the_folder_are_refused(folder):
    types = {"../2_Dense": MODELS + "Dense"}
    content = {"types": types, "structure": {"a": ["../2_Dense"]}, "parameters": {}}
    write(folder / "router_config.json", content)
    write(folder / "modules.json", listed((MODELS + "Router", "")))
    refused(folder, ["router_config.json", "leads out"])


@pytest.fixture
def download(folder, tmp_path):
    """The same model as the Hub's cache has it: files of strangers."""
    path = tmp_path / "cache/models--owner--model/snapshots" / ("0" * 40)
    path.parent.mkdir(parents=True)
    return folder.rename(path)


LINKED = ("2_Dense/config.json", "config.json", "tokenizer.json", "modules.json", "2_Dense")


@pytest.mark.parametrize("name", LINKED)
def test_links_that_leave_a_download_are_refused(name, download, tmp_path):
    """Who uploads a model has no business with other files of this machine."""
    (download / name).rename(tmp_path / "outside")
    (download / name).symlink_to(tmp_path / "outside")
    link = tmp_path / "another name"
    link.symlink_to(download)
    for path in (download, link):
        refused(path, ["modules.json", "leads out"] if name == "2_Dense" else [name, "leads out"])


@pytest.mark.parametrize("name", LINKED)
def test_links_of_the_users_own_lead_anywhere(name, folder, tmp_path):
    """Who makes a folder can read the files themselves: DVC, git-annex and caches link them."""
    (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    assert load(folder).modules["2"].out_features == 8


def test_a_link_that_leads_nowhere_is_named_where_its_file_is_needed(folder):
    """git-annex links files that were not fetched; those that nobody reads do not matter."""
    (folder / "picture.png").symlink_to("/no/such/file")
    assert load(folder).modules
    (folder / "2_Dense/config.json").unlink()
    (folder / "2_Dense/config.json").symlink_to("/no/such/file")
    refused(folder, ["2_Dense/config.json", "link to /no/such/file, which is not there"])


def test_a_link_to_what_is_no_file_is_refused(folder, tmp_path):
    (folder / "modules.json").unlink()
    os.mkfifo(tmp_path / "pipe")
    (folder / "modules.json").symlink_to(tmp_path / "pipe")
    refused(folder, ["modules.json", "not a file"])


def test_links_inside_the_folder_are_followed(folder):
    (folder / "2_Dense/config.json").rename(folder / "kept.json")
    (folder / "2_Dense/config.json").symlink_to("../kept.json")
    assert load(folder).modules["2"].out_features == 8


def test_a_loop_of_links_is_refused(folder):
    (folder / "modules.json").unlink()
    (folder / "modules.json").symlink_to("modules.json")
    refused(folder, "modules.json")


def test_a_pipe_is_not_waited_for(folder):
    (folder / "modules.json").unlink()
    os.mkfifo(folder / "modules.json")
    refused(folder, ["modules.json", "not a file"])


@pytest.mark.parametrize(
    "name",
    [
        "modules.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
        "config.json",
        "tokenizer_config.json",
        "tokenizer.json",
        "1_Pooling/config.json",
        "2_Dense/config.json",
    ],
)
@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        '{"a": ',
        "\x00\x01",
        "nonsense",
        "[" * 100_000,
        "5",
        "null",
        '"text"',
        '{"a": 1' * 9,
    ],
    ids=["empty", "cut", "cut_value", "bytes", "words", "deep", "number", "null", "text", "torn"],
)
def test_json_that_is_none_names_the_file(name, content, folder):
    write(folder / name, content)
    refused(folder, name)


def test_a_number_with_too_many_digits_names_the_file(folder):
    write(folder / "2_Dense/config.json", '{"in_features": ' + "9" * 10_000 + "}")
    refused(folder, "2_Dense/config.json")


def test_bytes_that_are_no_text_name_the_file(folder):
    (folder / "modules.json").write_bytes(b"\xff\xfe\xff")
    refused(folder, "modules.json")


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([], "lists no modules"),
        ({}, "must hold a list"),
        (["Pooling"], "entry 0"),
        ([{"path": ""}], "'type'"),
        ([{"type": MODELS + "Normalize"}], "'path'"),
        ([{"type": 5, "path": ""}], "'type'"),
        ([{"type": MODELS + "Normalize", "path": 5}], "'path'"),
        ([{"type": MODELS + "Normalize", "path": "", "name": ["a"]}], "'name'"),
        ([{"type": MODELS + "Normalize", "path": "", "name": "a.b"}], "'name'"),
        ([{"type": MODELS + "Normalize", "path": "", "name": "a", "kwargs": "x"}], "'kwargs'"),
        ([{"type": MODELS + "Normalize", "path": "", "name": "a"}] * 2, "'name' of entry 1"),
    ],
)
def test_a_torn_list_of_modules_names_the_key(entries, says, folder):
    write(folder / "modules.json", entries)
    refused(folder, ["modules.json", says])


@pytest.mark.parametrize(
    ("name", "changes", "key"),
    [
        ("1_Pooling", {"word_embedding_dimension": "32"}, "'word_embedding_dimension' is"),
        ("1_Pooling", {"word_embedding_dimension": -1}, "'word_embedding_dimension' is"),
        ("1_Pooling", {"word_embedding_dimension": 2**40}, "'word_embedding_dimension' is"),
        ("1_Pooling", {"word_embedding_dimension": 32.5}, "'word_embedding_dimension' is"),
        ("1_Pooling", {"word_embedding_dimension": None}, "'word_embedding_dimension' is"),
        ("1_Pooling", {"pooling_mode": "median"}, "pooling_mode"),
        ("1_Pooling", {"pooling_mode": []}, "pooling"),
        ("1_Pooling", {"pooling_mode": ["mean", 3]}, "pooling_mode"),
        ("1_Pooling", {"pooling_mode_mean_tokens": "yes"}, "pooling_mode_mean_tokens"),
        ("1_Pooling", {"include_prompt": "no"}, "include_prompt"),
        ("1_Pooling", {"pooling_mode_median_tokens": True}, "pooling_mode_median_tokens"),
        ("2_Dense", {"in_features": 0}, "in_features"),
        ("2_Dense", {"bias": 1}, "bias"),
        ("2_Dense", {"activation_function": 5}, "activation_function"),
        ("2_Dense", {"activation_function": "os.system"}, "activation_function"),
        ("2_Dense", {"activation_function": "torch.nn.Sequential.os"}, "activation_function"),
        ("2_Dense", {"activation_function": "torch.hub.load"}, "activation_function"),
        ("2_Dense", {"activation_function": "torch.nn.Linear"}, "activation_function"),
        ("2_Dense", {"temperature": 0.5}, "temperature"),
    ],
)
def test_a_wrong_value_names_file_and_key(name, changes, key, folder):
    change(folder / name / "config.json", **changes)
    refused(folder, [f"{name}/config.json", key])


def test_an_unknown_key_that_says_nothing_is_passed_over(folder):
    nothing = {"pooling_mode_median_tokens": False, "weights": None, "extra": {}}
    change(folder / "1_Pooling/config.json", **nothing)
    assert load(folder).modules["1"].pooling_mode == "mean"


@pytest.mark.parametrize(
    ("name", "key"),
    [("1_Pooling", "embedding_dimension"), ("2_Dense", "in_features"), ("2_Dense", "out_features")],
)
def test_a_missing_key_names_file_and_key(name, key, folder):
    without(folder / name / "config.json", key, f"word_{key}")
    refused(folder, [f"{name}/config.json", repr(key), "missing"])


@pytest.mark.parametrize(
    "name",
    [
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "config.json",
        "tokenizer.json",
    ],
)
def test_a_missing_file_is_named(name, folder):
    (folder / name).unlink()
    refused(folder, [name, "missing"])


def test_a_missing_encoder_names_what_to_have(folder):
    (folder / "model.safetensors").unlink()
    refused(folder, [str(folder), "model.safetensors"])


@pytest.mark.parametrize("name", ["model.safetensors", "2_Dense/model.safetensors"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b[:4],
        lambda b: b[: len(b) // 2],
        lambda b: b[:-1],
        lambda b: b"\xff" * 8 + b[8:],
        lambda b: b[:8] + b"[" * 50 + b[58:],
        lambda b: b + b"more",
    ],
    ids=["empty", "head", "half", "byte", "size", "json", "longer"],
)
def test_damaged_safetensors_are_named(name, damage, folder):
    path = folder / name
    path.write_bytes(damage(path.read_bytes()))
    refused(folder, [name, "damaged"])


@pytest.mark.parametrize("home", ["2_Dense", ""])
@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 torn", b"\x80\x02}q\x00."])
def test_damaged_pickles_are_named(data, home, folder):
    (folder / home / "model.safetensors").unlink()
    (folder / home / "pytorch_model.bin").write_bytes(data)
    refused(folder, [str(folder / home / "pytorch_model.bin"), "damaged"])


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"linear.weight": torch.ones(8, 32)}, ["linear.bias"]),
        (
            {"linear.weight": torch.ones(8, 31), "linear.bias": torch.ones(8)},
            ["(8, 31)", "(8, 32)"],
        ),
        (
            {"linear.weight": torch.ones(8, 32), "linear.bias": torch.ones(8), "x": torch.ones(1)},
            ["'x'"],
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(tensors, says, folder):
    folders.save_file(tensors, folder / "2_Dense/model.safetensors")
    refused(folder, ["2_Dense/model.safetensors", *says])


@pytest.mark.parametrize(
    ("kind", "file", "config"),
    [
        ("Dense", "config.json", {"in_features": 2**31 - 1, "out_features": 2**31 - 1}),
        ("LayerNorm", "config.json", {"dimension": 2**31 - 1}),
        ("LSTM", "lstm_config.json", {"embedding_dimension": 2**30, "hidden_dim": 2**28}),
        (
            "CNN",
            "cnn_config.json",
            {"in_embedding_dimension": 2**30, "out_channels": 2**28, "kernel_sizes": [2**20]},
        ),
    ],
)
def test_sizes_are_compared_with_the_weights_before_memory_is_taken(kind, file, config, tmp_path):
    write(tmp_path / "modules.json", listed((MODELS + kind, "0")))
    write(tmp_path / "0" / file, config)
    folders.save_file({"x": torch.ones(1)}, tmp_path / "0/model.safetensors")
    refused(tmp_path, "0/")


def test_layers_without_end_are_not_built(folder):
    change(folder / "config.json", num_hidden_layers=10**9)
    refused(folder, ["config.json", "num_hidden_layers"])
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refused(folder, ["config.json", "num_hidden_layers"])
    write(folder / "0/lstm_config.json", dict.fromkeys(["embedding_dimension", "hidden_dim"], 4))
    change(folder / "0/lstm_config.json", num_layers=10**9)
    write(folder / "modules.json", listed((MODELS + "LSTM", "0")))
    refused(folder, ["lstm_config.json", "num_layers"])


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 3},
        {"num_hidden_layers": -1},
        {"hidden_size": 64},
        {"vocab_size": 10**11},
        {"hidden_size": -32},
        {"num_attention_heads": 0},
        {"model_type": "nothing"},
        {"model_type": ["bert"]},
        {"model_type": None},
        {"hidden_size": "32"},
        {"hidden_act": "os.system"},
    ],
)
def test_an_encoder_that_does_not_fit_its_weights_is_refused(changes, folder):
    change(folder / "config.json", **changes)
    refused(folder, str(folder))


def test_an_encoders_own_code_is_not_run(folder, tmp_path):
    write(folder / "modeling.py", f"import os; os.mkdir({str(tmp_path / 'ran')!r})")
    own = {"AutoConfig": "modeling.Config", "AutoModel": "modeling.Model"}
    change(folder / "config.json", model_type="own", auto_map=own)
    refused(folder, str(folder), UntrustedCodeError)
    assert not (tmp_path / "ran").exists()


def test_a_tokenizers_own_code_is_not_run(folder, tmp_path):
    write(folder / "tokenization.py", f"import os; os.mkdir({str(tmp_path / 'ran')!r})")
    own = {"AutoTokenizer": ["tokenization.Tokenizer", None]}
    change(folder / "tokenizer_config.json", tokenizer_class="Tokenizer", auto_map=own)
    tokenizer = load(folder).modules["0"].tokenizer  # from tokenizer.json, as it is
    assert tokenizer.tokenize("the cat") == ["the", "cat"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("model_args", {"weights_only": False}),
        ("model_kwargs", {"use_safetensors": False}),
        ("model_args", {"gguf_file": "model.gguf"}),
        ("model_args", {"subfolder": "../other"}),
        ("model_args", {"attn_implementation": "owner/kernel"}),
        ("tokenizer_args", {"tokenizer_file": "/etc/passwd"}),
    ],
)
def test_a_file_may_not_say_how_files_are_opened(name, options, folder):
    change(folder / "sentence_bert_config.json", **{name: options})
    refused(folder, ["sentence_bert_config.json", *options], UntrustedCodeError)


def test_a_file_cannot_give_trust_or_point_to_another_revision(folder, tmp_path):
    write(folder / "modeling.py", f"import os; os.mkdir({str(tmp_path / 'ran')!r})")
    own = {"AutoConfig": "modeling.Config", "AutoModel": "modeling.Model"}
    change(folder / "config.json", model_type="own", auto_map=own)
    given = {"trust_remote_code": True, "revision": "evil", "token": "x", "code_revision": "evil"}
    all_of_them = dict.fromkeys(("model_args", "tokenizer_args", "config_args"), given)
    change(folder / "sentence_bert_config.json", **all_of_them)
    refused(folder, str(folder), UntrustedCodeError)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("is_plain", [False, True], ids=["listed", "plain"])
@pytest.mark.parametrize("home", [(), ("text_config",), ("a", "b")])
def test_an_attention_from_the_hub_is_not_loaded(home, is_plain, folder):
    if is_plain:  # a checkpoint of the transformers library alone
        (folder / "modules.json").unlink()
    value = {"attn_implementation": "owner/kernel"}
    for name in reversed(home):
        value = {name: value}
    change(folder / "config.json", **value)
    refused(folder, ["config.json", "owner/kernel"], UntrustedCodeError)


@pytest.mark.parametrize("key", ["vocab", "merges", "fast_tokenizer_files"])
def test_a_vocabulary_outside_the_folder_is_not_opened(key, folder, tmp_path):
    words = folders.read(folder / "tokenizer.json")["model"]["vocab"]
    write(folder / "vocab.txt", "\n".join(sorted(words, key=words.get)))
    outside = write(tmp_path / "tokenizer.4.0.json", "secret")
    value = [f"../{outside.name}"] if key == "fast_tokenizer_files" else str(outside)
    change(folder / "tokenizer_config.json", **{key: value})
    for _ in range(2):
        refused(folder, ["tokenizer_config.json", repr(key)])
        (folder / "tokenizer.json").unlink(missing_ok=True)


@pytest.mark.parametrize("link", ["the folder", "a file in it"])
def test_chat_templates_outside_of_a_download_are_not_read(link, download, tmp_path):
    outside, own = tmp_path / "outside", download / "additional_chat_templates"
    write(outside / "a.jinja", "secret")
    if link == "the folder":
        own.symlink_to(outside)
    else:
        own.mkdir()
        (own / "a.jinja").symlink_to(outside / "a.jinja")
    refused(download, ["additional_chat_templates", "leads out"])


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt"])
def test_a_huge_vocabulary_is_not_read(name, folder, monkeypatch):
    """A hole in a file, which takes no space on the disk."""
    asked = SimpleNamespace(from_pretrained=lambda *_args, **_options: pytest.fail("asked"))
    monkeypatch.setattr("sentune.engine.encoders.AutoTokenizer", asked)
    (folder / "tokenizer.json").unlink()
    with (folder / name).open("wb") as file:
        file.truncate(2**33)
    refused(folder, [name, "larger than"])


def test_a_huge_tokenizer_of_a_static_model_is_not_read(tmp_path, monkeypatch):
    save(
        {"0": models.StaticEmbedding(tiny.tokenizer().backend_tokenizer, embedding_dim=4)},
        {},
        tmp_path,
    )
    asked = SimpleNamespace(from_file=lambda _path: pytest.fail("asked"))
    monkeypatch.setattr("sentune.files.modules.static_embedding.Tokenizer", asked)
    with (tmp_path / "0_StaticEmbedding" / "tokenizer.json").open("wb") as file:
        file.truncate(2**33)
    refused(tmp_path, ["tokenizer.json", "larger than"])


@pytest.mark.parametrize("home", ["2_Dense", ""])
def test_a_pickle_that_is_more_than_its_file_is_refused(home, folder):
    """A packed one, a thousand times its size; tensors that repeat one number."""
    place = folder / home / "model.safetensors"
    path = place.with_name("pytorch_model.bin")
    tensors = folders.load_file(place)
    place.unlink()
    torch.save(tensors, path)
    load(folder)
    with zipfile.ZipFile(path) as file:
        entries = {info.filename: file.read(info) for info in file.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    refused(folder, ["pytorch_model.bin", "packed"])


def test_a_pickled_tensor_that_repeats_one_number_is_refused(folder):
    (folder / "2_Dense/model.safetensors").unlink()
    change(folder / "2_Dense/config.json", in_features=20_000, out_features=20_000, bias=False)
    weight = torch.zeros(1, 1, dtype=torch.float16).expand(20_000, 20_000)
    torch.save({"linear.weight": weight}, folder / "2_Dense/pytorch_model.bin")
    refused(folder, ["pytorch_model.bin", "'linear.weight'", "20000, 20000"])


def test_shards_outside_the_folder_are_refused(folder):
    index = {"weight_map": {"a": "../other/model.safetensors"}}
    write(folder / "model.safetensors.index.json", index)
    refused(folder, ["model.safetensors.index.json", "../other"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"structure": {"a": ["b"]}}, "'b'"),
        ({"structure": {}}, "router_config.json"),
        ({"structure": {"a": []}}, "router_config.json"),
        ({"structure": {"a.b": ["x"]}}, "router_config.json"),
        ({"structure": ["a"]}, "'structure'"),
        ({"types": ["x"]}, "'types'"),
        ({"types": {"x": 5}}, "'types'"),
        ({"parameters": {"default_route": "nowhere"}}, "nowhere"),
        ({"parameters": {"default_route": 5}}, "'default_route'"),
        ({"parameters": {"sub_modules": {"a": 1}}}, "sub_modules"),
        ({"parameters": {"route_mappings": {"__import__('os')": "a"}}}, "route_mappings"),
        ({"parameters": {"route_mappings": {"(" * 1000: "a"}}}, "route_mappings"),
    ],
)
def test_a_torn_router_names_the_key(changes, says, tmp_path):
    save({"0": models.Router({"a": [models.Dense(4, 2)]})}, {}, tmp_path / "model")
    change(tmp_path / "model/router_config.json", **changes)
    refused(tmp_path / "model", ["router_config.json", says])


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("wordembedding_config.json", {"tokenizer_class": "os.system"}, "tokenizer_class"),
        (
            "wordembedding_config.json",
            {"tokenizer_class": MODELS + "tokenizer.X"},
            "tokenizer_class",
        ),
        ("wordembedding_config.json", {"max_seq_length": 0}, "max_seq_length"),
        ("wordembedding_config.json", {"embedding_weights": [[1]]}, "embedding_weights"),
        ("whitespacetokenizer_config.json", {"vocab": "abc"}, "vocab"),
        ("whitespacetokenizer_config.json", {"vocab": ["a", 5]}, "vocab"),
        ("whitespacetokenizer_config.json", {"vocab": list("abc")}, "embedding_weights"),
        ("whitespacetokenizer_config.json", {"stop_words": {"a": 1}}, "stop_words"),
        ("whitespacetokenizer_config.json", {"hook": "os.system"}, "hook"),
    ],
)
def test_torn_word_embeddings_name_the_key(name, changes, says, tmp_path):
    from sentune.models.tokenizer import WhitespaceTokenizer

    words = models.WordEmbeddings(WhitespaceTokenizer(["a", "b"]), torch.randn(2, 3))
    save({"0": words}, {}, tmp_path / "model")
    change(tmp_path / "model" / name, **changes)
    refused(tmp_path / "model", says)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"model": {"type": "BPE"}}'])
def test_a_torn_tokenizer_of_a_static_model_is_named(content, tmp_path):
    from tests import tiny

    static = models.StaticEmbedding(tiny.tokenizer(), embedding_dim=4)
    save({"0": static}, {}, tmp_path / "model")
    write(tmp_path / "model/0_StaticEmbedding/tokenizer.json", content)
    refused(tmp_path / "model", "tokenizer.json")


@pytest.mark.parametrize(
    "tensors",
    [
        {"other": torch.ones(3, 2)},
        {"embedding.weight": torch.ones(3, 2)},  # fewer than the tokenizer's tokens
        {"embedding.weight": torch.ones(5)},
        {"embeddings": torch.ones(3, 2), "mapping": torch.tensor([7])},
    ],
)
def test_vectors_of_a_static_model_that_do_not_fit_are_refused(tensors, tmp_path):
    from tests import tiny

    static = models.StaticEmbedding(tiny.tokenizer(), embedding_dim=4)
    save({"0": static}, {}, tmp_path / "model")
    folders.save_file(tensors, tmp_path / "model/0_StaticEmbedding/model.safetensors")
    with pytest.raises(SentuneError):
        load(tmp_path / "model")


def test_a_number_that_no_float_can_hold_is_refused(tmp_path):
    write(tmp_path / "modules.json", listed((MODELS + "BoW", "0")))
    write(tmp_path / "0/config.json", {"vocab": ["a"], "word_weights": {"a": 10**400}})
    refused(tmp_path, ["0/config.json", "'word_weights'"])


@pytest.mark.parametrize("names", [5, {"": None}, [], [None], "LlamaForCausalLM"])
def test_names_of_architectures_that_are_none_are_passed_over(names, tiny_bert_folder, tmp_path):
    folders.shutil.copytree(tiny_bert_folder, tmp_path / "raw")
    change(tmp_path / "raw/config.json", architectures=names)
    assert load(tmp_path / "raw").modules["1"].pooling_mode == "mean"


def test_weights_that_are_no_numbers_do_no_harm(folder):
    """They load, as they may come of a run that went wrong; saving gives the same again."""
    tensors = folders.load_file(folder / "2_Dense/model.safetensors")
    tensors["linear.bias"][:] = float("nan")
    folders.save_file(tensors, folder / "2_Dense/model.safetensors")
    loaded = load(folder)
    assert loaded.modules["2"].linear.bias.isnan().all()
    save(loaded.modules, loaded.settings, folder)
    assert load(folder).modules["2"].linear.bias.isnan().all()


BOMBS = {
    "deep lists": "[" * 100_000 + "]" * 100_000,
    "deep objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "one name many times": "{" + '"a": 1, ' * 100_000 + '"a": 2}',
    "a long number": '{"a": ' + "9" * 100_000 + "}",
    "a long text": '{"a": "' + "x" * 10_000_000 + '"}',
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS.keys())
@pytest.mark.parametrize("name", ["modules.json", "config.json", "tokenizer_config.json"])
def test_bombs_of_json_end_in_a_clean_error_or_say_nothing(name, content, folder):
    write(folder / name, content)
    try:
        load(folder)
    except SentuneError as error:
        assert name in str(error)
        assert len(str(error)) < 2000
