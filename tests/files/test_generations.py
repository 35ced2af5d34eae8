"""Folders of every generation of the format give the model that they describe."""

import pytest
import torch

from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import MissingDependencyError, ModelFileError, SettingError
from sentune.models import Dense, Normalize, Pooling, Router, StaticEmbedding, Transformer
from tests.files import folders
from tests.files.folders import MODELS, WIDTH, change, load, write

pytestmark = pytest.mark.filterwarnings("ignore:.*max_seq_length=20")

TEXTS = ["the cat sat on the mat", "a small dog", "birds fly over the river at night " * 4]


def reference(raw, *more, max_seq_length=20):
    modules = [Transformer(raw, max_seq_length=max_seq_length), Pooling(WIDTH), *more]
    return SentenceTransformer(modules=modules, device="cpu").encode(TEXTS, convert_to_tensor=True)


def embeddings(folder):
    model = SentenceTransformer(folder, device="cpu")
    return model.encode(TEXTS, convert_to_tensor=True)


@pytest.mark.parametrize(
    ("generation", "normalizes"),
    [
        (folders.v0, False),
        (folders.v1_roberta, False),
        (folders.v2, True),
        (folders.v5_4, True),
        (folders.v6, True),
    ],
)
def test_each_generation_gives_the_embeddings_it_describes(
    generation, normalizes, tiny_bert_folder, tmp_path
):
    folder = generation(tiny_bert_folder, tmp_path / "model")
    expected = reference(tiny_bert_folder, *([Normalize()] if normalizes else []))
    torch.testing.assert_close(embeddings(folder), expected)


def test_each_generation_has_the_encoders_weights(tiny_bert_folder, tmp_path):
    plain = Transformer(tiny_bert_folder)
    for generation in (folders.v0, folders.v1_roberta, folders.v2, folders.v5_4, folders.v6):
        loaded = load(generation(tiny_bert_folder, tmp_path / generation.__name__))
        assert folders.same_tensors(loaded.modules["0"], plain)
        assert loaded.modules["0"].max_seq_length == 20


def test_all_settings_of_the_middle_age_are_read(tiny_bert_folder, tmp_path):
    loaded = load(folders.v5(tiny_bert_folder, tmp_path / "model"))
    transformer, pooling, dense, normalize = loaded.modules.values()
    assert (transformer.max_seq_length, transformer.do_lower_case) == (20, True)
    assert transformer.config._attn_implementation == "sdpa"
    assert transformer.tokenizer.padding_side == "left"
    assert transformer.config.classifier_dropout == 0.5
    assert pooling.settings() == {
        "embedding_dimension": WIDTH,
        "pooling_mode": ["cls", "max"],
        "include_prompt": False,
    }
    assert isinstance(dense, Dense) and dense.in_features == 2 * WIDTH
    assert torch.equal(dense.linear.weight, torch.ones(8, 2 * WIDTH))
    assert isinstance(dense.activation_function, torch.nn.Tanh)
    assert isinstance(normalize, Normalize)
    assert loaded.module_kwargs == {"0": ["task"], "1": [], "2": [], "3": []}
    assert loaded.settings == {
        "prompts": {"query": "query ", "document": ""},
        "default_prompt_name": "query",
        "similarity_fn_name": "dot",
        "truncate_dim": 4,
    }


def test_the_callers_arguments_win_over_those_of_the_file(tiny_bert_folder, tmp_path):
    folder = folders.v5(tiny_bert_folder, tmp_path / "model")
    loaded = load(
        folder,
        model_kwargs={"attn_implementation": "eager", "dtype": "float64"},
        processor_kwargs={"padding_side": "right"},
        config_kwargs={"classifier_dropout": 0.25},
    )
    transformer = loaded.modules["0"]
    assert transformer.config._attn_implementation == "eager"
    assert transformer.auto_model.dtype == torch.float64
    assert transformer.tokenizer.padding_side == "right"
    assert transformer.config.classifier_dropout == 0.25


def test_a_plain_checkpoint_becomes_an_encoder_with_mean_pooling(tiny_bert_folder):
    loaded = load(tiny_bert_folder)
    assert [type(module) for module in loaded.modules.values()] == [Transformer, Pooling]
    assert loaded.modules["1"].pooling_mode == "mean"
    assert loaded.modules["0"].max_seq_length == 64  # what its tokenizer says
    assert loaded.settings["prompts"] == {}


@pytest.mark.parametrize("length", [9, 20])
def test_the_callers_length_limit_wins_over_that_of_the_file(tiny_bert_folder, tmp_path, length):
    SentenceTransformer(tiny_bert_folder).save(tmp_path)
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    assert SentenceTransformer(tmp_path).max_seq_length == 16
    options = {"model_max_length": length}
    assert SentenceTransformer(tmp_path, tokenizer_kwargs=options).max_seq_length == length


@pytest.mark.parametrize(("extra", "mode"), [({}, "lasttoken"), ({"is_causal": False}, "mean")])
def test_a_causal_language_model_is_pooled_by_its_last_token(
    extra, mode, tiny_bert_folder, tmp_path
):
    folder = tmp_path / "model"
    folders.shutil.copytree(tiny_bert_folder, folder)
    change(folder / "config.json", architectures=["BertForCausalLM"], **extra)
    assert load(folder).modules["1"].pooling_mode == mode


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("CrossEncoder", "load it with sentune.CrossEncoder"),
        ("SparseEncoder", ".*sentence_transformers has a class"),
        ("MultiVectorEncoder", ".*sentence_transformers has a class"),
        ("Oracle", "sentune knows SentenceTransformer, CrossEncoder"),
    ],
)
def test_another_kind_of_model_is_refused(tiny_bert_folder, tmp_path, kind, advice):
    folder = folders.v6(tiny_bert_folder, tmp_path / "model")
    change(folder / "config_sentence_transformers.json", model_type=kind)
    with pytest.raises(ModelFileError, match=f"is a {kind} and no SentenceTransformer; {advice}"):
        load(folder)


def test_old_flags_are_ignored_where_the_new_key_is_there(tiny_bert_folder, tmp_path):
    folder = folders.v2(tiny_bert_folder, tmp_path / "model")
    change(folder / "1_Pooling/config.json", pooling_mode="max", embedding_dimension=WIDTH)
    assert load(folder).modules["1"].pooling_mode == "max"


def test_without_any_flag_the_mean_is_taken(tiny_bert_folder, tmp_path):
    folder = folders.v2(tiny_bert_folder, tmp_path / "model")
    write(folder / "1_Pooling/config.json", folders.pooling_flags())
    assert load(folder).modules["1"].pooling_mode == "mean"


def test_a_length_limit_in_processing_options_counts(tiny_bert_folder, tmp_path):
    folder = folders.v6(tiny_bert_folder, tmp_path / "model")
    options = {"text": {"max_length": 12, "padding": True}, "image": {"size": 5}}
    change(folder / "sentence_bert_config.json", processing_kwargs=options, unpad_inputs=True)
    assert load(folder).modules["0"].max_seq_length == 12


@pytest.mark.parametrize(
    ("change_to", "key"),
    [
        ({"transformer_task": "fill-mask"}, "transformer_task"),
        ({"module_output_name": "pixels"}, "module_output_name"),
        ({"modality_config": {"image": {"method": "forward"}}}, "modality_config"),
        ({"query_length": 32}, "query_length"),
        ({"processing_kwargs": {"text": {"add_special_tokens": False}}}, "add_special_tokens"),
        ({"max_seq_length": "256"}, "max_seq_length"),
        ({"max_seq_length": 0}, "max_seq_length"),
        ({"do_lower_case": "no"}, "do_lower_case"),
        ({"model_args": ["float16"]}, "model_kwargs"),
    ],
)
def test_what_an_encoder_file_says_and_cannot_be_done_is_refused(
    change_to, key, tiny_bert_folder, tmp_path
):
    folder = folders.v6(tiny_bert_folder, tmp_path / "model")
    change(folder / "sentence_bert_config.json", **change_to)
    with pytest.raises(ModelFileError, match=f"sentence_bert_config.json.*{key}"):
        load(folder)


def test_a_router_of_5_0_is_read(tiny_bert_folder, tmp_path):
    folder = tmp_path / "model"
    folders.shutil.copytree(tiny_bert_folder, folder / "query_0_Transformer")
    write(folder / "query_1_Pooling/config.json", folders.pooling_flags("mean_tokens"))
    write(
        folder / "router_config.json",
        {
            "types": {
                "query_0_Transformer": MODELS + "Transformer",
                "query_1_Pooling": MODELS + "Pooling",
            },
            "structure": {
                "query": ["query_0_Transformer", "query_1_Pooling"],
                "document": ["query_0_Transformer", "query_1_Pooling"],
            },
            "parameters": {"default_route": "document", "allow_empty_key": True},
        },
    )
    write(folder / "modules.json", folders.listed((MODELS + "Router", "")))
    router = load(folder).modules["0"]
    assert isinstance(router, Router)
    assert router.default_route == "document"
    query, document = router.sub_modules["query"], router.sub_modules["document"]
    assert query[0] is document[0]  # listed in both routes, read once
    assert folders.same_tensors(query[0], Transformer(tiny_bert_folder))


def test_an_asym_of_2_x_is_read(tiny_bert_folder, tmp_path):
    folder = folders.v2(tiny_bert_folder, tmp_path / "model")
    home = folder / "2_Asym"
    for seed, route in enumerate(("query", "doc")):
        folders.dense(home / f"{route}_0_Dense", seed)
    types = {f"{route}_0_Dense": MODELS + "Dense.Dense" for route in ("query", "doc")}
    structure = {route: [f"{route}_0_Dense"] for route in ("query", "doc")}
    parameters = {"allow_empty_key": True}
    write(home / "config.json", {"types": types, "structure": structure, "parameters": parameters})
    kinds = folders.read(folder / "modules.json")
    kinds[2] = {"idx": 2, "name": "2", "path": "2_Asym", "type": MODELS + "Asym"}
    write(folder / "modules.json", kinds)
    router = load(folder).modules["2"]
    assert isinstance(router, Router)
    assert set(router.sub_modules) == {"query", "doc"}
    torch.manual_seed(1)
    assert torch.equal(router.sub_modules["doc"][0].linear.weight, torch.randn(8, WIDTH))


def test_a_model2vec_folder_is_read(tmp_path):
    from tests import tiny

    folder = tmp_path / "model"
    folder.mkdir()
    words = tiny.tokenizer()
    words.backend_tokenizer.save(str(folder / "tokenizer.json"))
    size = words.backend_tokenizer.get_vocab_size()
    tensors = {
        "embeddings": torch.randn(10, 6),
        "mapping": torch.arange(size) % 10,
        "weights": torch.linspace(0.5, 2, size),
    }
    folders.save_file(tensors, folder / "model.safetensors")
    kinds = folders.listed((MODELS + "StaticEmbedding", "."), (MODELS + "Normalize", "1_Normalize"))
    write(folder / "modules.json", kinds)
    write(folder / "config.json", {"model_type": "model2vec", "normalize": True})
    static = load(folder).modules["0"]
    assert isinstance(static, StaticEmbedding)
    expected = tensors["embeddings"][12 % 10] * tensors["weights"][12]
    torch.testing.assert_close(static.embedding.weight[12], expected)


def test_requirements_of_a_model_are_checked_before_it_is_loaded(tiny_bert_folder, tmp_path):
    folder = folders.v6(tiny_bert_folder, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    requirements = {
        "torch": ">=1.0",
        "python": ">=3",
        "transformers": {"specifier": ">=99", "reason": "for its new attention"},
        "no-such-package": ">=1",
        "sentence-transformers": ">=99",
        "numpy": "not a specifier",
    }
    change(folder / "config_sentence_transformers.json", requirements=requirements)
    with pytest.raises(MissingDependencyError) as caught:
        load(folder)
    text = str(caught.value)
    assert "transformers>=99 (for its new attention)" in text
    assert "no-such-package>=1, but it is not installed" in text
    assert "torch>=1.0" not in text and "numpy" not in text and "sentence-transf" not in text


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"prompts": ["query: "]}, "prompts"),
        ({"prompts": {"query": 5}}, "prompts"),
        ({"default_prompt_name": "passage"}, "default_prompt_name"),
        ({"similarity_fn_name": 7}, "similarity_fn_name"),
        ({"truncate_dim": -2}, "truncate_dim"),
        ({"truncate_dim": True}, "truncate_dim"),
    ],
)
def test_a_wrong_setting_of_the_model_names_file_and_key(settings, key, tiny_bert_folder, tmp_path):
    folder = folders.v6(tiny_bert_folder, tmp_path / "model")
    change(folder / "config_sentence_transformers.json", **settings)
    with pytest.raises(ModelFileError, match=f"config_sentence_transformers.json.*{key}"):
        load(folder)


def test_a_similarity_of_other_kinds_of_models_is_passed_over(tiny_bert_folder, tmp_path, caplog):
    folder = folders.v6(tiny_bert_folder, tmp_path / "model")
    change(folder / "config_sentence_transformers.json", similarity_fn_name="maxsim")
    assert load(folder).settings["similarity_fn_name"] is None
    assert "maxsim" in caplog.text


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        ("", SettingError, "folder or an id"),
        ("/no/such/folder", ModelFileError, "no folder /no/such/folder"),
        ("./here", ModelFileError, "no folder"),
        ("a/b/c", ModelFileError, "no folder a/b/c"),
    ],
)
def test_a_source_that_cannot_be_a_model_says_so(source, error, says):
    with pytest.raises(error, match=says):
        load(source)


def test_an_address_of_a_model_is_no_name():
    with pytest.raises(SettingError, match="is an address; a model is named as 'owner/model'"):
        load("https://huggingface.co/owner/model")


@pytest.mark.parametrize("revision", [5, ""])
def test_a_revision_that_is_none_is_refused(revision):
    with pytest.raises(SettingError, match="revision must be a branch, a tag or a commit"):
        load("owner/model", revision=revision)


def test_a_file_is_no_model(tmp_path):
    with pytest.raises(ModelFileError, match="is a file; a model is a folder"):
        load(write(tmp_path / "model.safetensors", "x"))


def test_an_empty_folder_is_no_model(tmp_path):
    with pytest.raises(ModelFileError, match="neither modules.json nor config.json"):
        load(tmp_path)
