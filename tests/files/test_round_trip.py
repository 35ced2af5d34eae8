"""What is saved is loaded again: the same modules, settings, bytes and tensors."""

import json

import pytest
import torch
from safetensors import safe_open

from sentune import models
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import SettingError, UntrustedCodeError
from sentune.files.save import save
from sentune.models.tokenizer import (
    TransformersTokenizerWrapper,
    WhitespaceTokenizer,
    WordTokenizer,
)
from sentune.vectors.similarity import SimilarityFunction
from tests import tiny
from tests.files.folders import json_bytes, load, read, same_tensors

WORDS = ["PADDING", "cat", "dog", "New York", "the"]
SETTINGS = {
    "prompts": {"query": "query: é\n", "document": ""},
    "default_prompt_name": "query",
    "similarity_fn_name": "dot",
    "truncate_dim": 4,
}


def encoder_with(*more):
    def make(folder):
        transformer = models.Transformer(folder, max_seq_length=17, do_lower_case=True)
        return [transformer, models.Pooling(32, ("mean", "cls")), *(module() for module in more)]

    return make


def word_model(tokenizer):
    def make(_folder):
        vectors = models.WordEmbeddings(tokenizer(), torch.randn(128, 8), True, 30)
        return [
            vectors,
            models.WordWeights([*WORDS, *map(str, range(123))], {"cat": 0.5, "the": 0.1}, 2),
            models.LSTM(8, 5, 2, 0.1, False),
            models.CNN(5, 4, [1, 3]),
            models.Pooling(8, "max"),
            models.LayerNorm(8),
            models.Dropout(0.25),
        ]

    return make


def router_model(folder):
    shared = models.Transformer(folder)
    routes = {
        "query": [shared, models.Pooling(32), models.Dense(32, 8)],
        "long/doc": [shared, models.Pooling(32, "cls"), models.Dense(32, 8)],
    }
    mappings = {("query", None): "query", (None, "text"): "long/doc"}
    return [models.Router(routes, "long/doc", False, mappings), models.Normalize()]


MODELS = {
    "dense": encoder_with(
        lambda: models.Dense(64, 8, bias=False, activation_function=torch.nn.ReLU()),
        lambda: models.Dense(8, 4, use_residual=True, module_output_name="sentence_embedding"),
        models.Normalize,
    ),
    "layers": encoder_with(
        lambda: models.WeightedLayerPooling(32, 2, 1, torch.tensor([0.5, 2.0])),
        lambda: models.Normalize("token_embeddings"),
    ),
    "static": lambda _folder: [models.StaticEmbedding(tiny.tokenizer(), embedding_dim=8)],
    "words": word_model(lambda: WhitespaceTokenizer(WORDS, {"of", "a"}, True)),
    "pieces": word_model(lambda: TransformersTokenizerWrapper(tiny.tokenizer())),
    "bow": lambda _folder: [models.BoW(WORDS, {"cat": 3}, 0.5, False), models.Dense(5, 2)],
    "router": router_model,
}


def named(modules):
    return {str(position): module for position, module in enumerate(modules)}


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_save_load_save_gives_the_same_bytes_and_tensors(name, safe, tiny_bert_folder, tmp_path):
    torch.manual_seed(0)
    modules = named(MODELS[name](tiny_bert_folder))
    kwargs = {"0": ["task"]}
    first, second = tmp_path / "first", tmp_path / "second"
    save(modules, SETTINGS, first, safe_serialization=safe, module_kwargs=kwargs)
    loaded = load(first)
    save(
        loaded.modules,
        loaded.settings,
        second,
        safe_serialization=safe,
        module_kwargs=loaded.module_kwargs,
    )
    assert json_bytes(first) == json_bytes(second)
    assert len(json_bytes(first)) >= 3
    assert loaded.settings == SETTINGS
    assert loaded.module_kwargs == {name: kwargs.get(name, []) for name in modules}
    again = load(second).modules
    assert list(again) == list(modules)
    for key, module in modules.items():
        assert type(again[key]) is type(module)
        assert same_tensors(again[key], module)
        assert again[key].settings() == module.settings()
    suffix, other = (".safetensors", ".bin") if safe else (".bin", ".safetensors")
    assert name == "bow" or list(first.rglob(f"*{suffix}"))
    assert not list(first.rglob(f"*{other}"))


@pytest.mark.parametrize("name", MODELS)
def test_the_loaded_model_computes_the_same(name, tiny_bert_folder, tmp_path):
    torch.manual_seed(0)
    modules = MODELS[name](tiny_bert_folder)
    if name == "router":
        modules[0].default_route = "query"
    model = SentenceTransformer(modules=modules, device="cpu")
    save(dict(model.named_children()), {}, tmp_path / "model")
    texts = ["the cat", "a dog and the cat", ""]
    loaded = SentenceTransformer(tmp_path / "model", device="cpu")
    torch.testing.assert_close(
        loaded.encode(texts, convert_to_tensor=True), model.encode(texts, convert_to_tensor=True)
    )


def test_loaded_weights_can_be_trained(tiny_bert_folder, tmp_path):
    save(named(MODELS["words"](None)), {}, tmp_path / "model")
    for module in load(tmp_path / "model").modules.values():
        assert all(p.requires_grad and not p.is_meta for p in module.parameters())


def test_half_precision_weights_are_read_in_the_precision_of_the_module(tmp_path):
    save({"0": models.Dense(4, 2).half()}, {}, tmp_path / "model")
    assert load(tmp_path / "model").modules["0"].linear.weight.dtype == torch.float32


@pytest.fixture
def saved(tiny_bert_folder, tmp_path):
    transformer = models.Transformer(tiny_bert_folder, max_seq_length=17)
    modules = named([transformer, models.Pooling(32), models.Dense(32, 8), models.Normalize()])
    settings = {**SETTINGS, "similarity_fn_name": SimilarityFunction.DOT}
    save(modules, settings, tmp_path / "model")
    return tmp_path / "model"


def test_the_written_files_are_those_that_old_readers_parse(saved):
    assert [entry["type"] for entry in read(saved / "modules.json")] == [
        f"sentence_transformers.models.{name}"
        for name in ("Transformer", "Pooling", "Dense", "Normalize")
    ]
    assert [entry["path"] for entry in read(saved / "modules.json")] == [
        "",
        "1_Pooling",
        "2_Dense",
        "3_Normalize",
    ]
    assert read(saved / "sentence_bert_config.json") == {
        "max_seq_length": 17,
        "do_lower_case": False,
    }
    assert read(saved / "1_Pooling/config.json") == {
        "word_embedding_dimension": 32,
        "pooling_mode_cls_token": False,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_mean_sqrt_len_tokens": False,
        "pooling_mode_weightedmean_tokens": False,
        "pooling_mode_lasttoken": False,
        "include_prompt": True,
    }
    assert read(saved / "2_Dense/config.json") == {
        "in_features": 32,
        "out_features": 8,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }
    assert not list((saved / "3_Normalize").iterdir())
    assert read(saved / "tokenizer_config.json")["model_max_length"] == 17


@pytest.mark.parametrize(
    ("module", "file", "key"),
    [
        (models.LSTM(8, 4), "lstm_config.json", "word_embedding_dimension"),
        (models.CNN(8, 4), "cnn_config.json", "in_word_embedding_dimension"),
        (models.WeightedLayerPooling(8, 2, 1), "config.json", "word_embedding_dimension"),
    ],
)
def test_widths_have_the_names_that_old_readers_take(module, file, key, tmp_path):
    """Readers before 5.1 hand every key to the constructor, which had no other name for it then."""
    save({"0": models.BoW(["a"]), "1": module}, {}, tmp_path)
    config = read(tmp_path / f"1_{type(module).__name__}" / file)
    assert config[key] == 8
    assert not {"embedding_dimension", "in_embedding_dimension"} & set(config)
    assert load(tmp_path).modules["1"].settings() == module.settings()


def test_the_models_file_has_settings_and_a_release_that_no_reader_finds_too_new(saved):
    config = read(saved / "config_sentence_transformers.json")
    versions = config.pop("__version__")
    assert config == {"model_type": "SentenceTransformer", **SETTINGS}
    assert versions["sentence_transformers"] == "3.0.0"
    assert set(versions) == {"sentence_transformers", "transformers", "pytorch", "sentune"}
    text = (saved / "config_sentence_transformers.json").read_text()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_nothing_of_packed_attention_or_of_the_machine_is_written(saved, tmp_path):
    for name, content in json_bytes(saved).items():
        text = content.decode()
        assert str(tmp_path) not in text, name
        assert "attn" not in text and "packed" not in text, name
    tokenizer = read(saved / "tokenizer_config.json")
    assert not {"is_local", "local_files_only", "name_or_path"} & set(tokenizer)


def test_plain_transformers_reads_the_encoder_and_the_tokenizer(saved, tiny_bert_folder):
    from transformers import AutoModel, AutoTokenizer

    encoder = AutoModel.from_pretrained(saved)
    assert same_tensors(encoder, AutoModel.from_pretrained(tiny_bert_folder))
    assert encoder.config._attn_implementation == "sdpa"
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert tokenizer.model_max_length == 17
    text = "the cat sat on a mat"
    assert tokenizer(text) == AutoTokenizer.from_pretrained(tiny_bert_folder)(text)
    # The name of before transformers 5, which older releases know too.
    assert read(saved / "tokenizer_config.json")["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_weights_say_that_they_are_torchs(saved):
    for path in (saved / "model.safetensors", saved / "2_Dense/model.safetensors"):
        with safe_open(path, "pt") as file:
            assert file.metadata() == {"format": "pt"}


# BERT has 66 positions, and without a limit reads as many tokens; ModernBERT's never end.
@pytest.mark.parametrize(("kind", "kept"), [("modernbert", None), ("bert", 66)])
def test_no_length_limit_is_kept_as_none(kind, kept, tmp_path):
    folder = tiny.make_folder(tmp_path / "raw", kind)
    transformer = models.Transformer(folder)
    transformer.max_seq_length = None
    save({"0": transformer}, {}, tmp_path / "model")
    assert read(tmp_path / "model/sentence_bert_config.json")["max_seq_length"] == kept


def test_tied_weights_are_kept(tmp_path):
    dense = models.Dense(4, 4, use_residual=False)
    dense.residual = torch.nn.Linear(4, 4, bias=False)
    dense.residual.weight = dense.linear.weight
    dense.use_residual = True
    from sentune.folders import weights

    weights.write(dense.state_dict(), tmp_path, safe=True)
    from sentune.folders.folder import ModelFolder

    tensors, _ = weights.need(ModelFolder(tmp_path))
    assert set(tensors) == {"linear.weight", "linear.bias", "residual.weight"}
    assert torch.equal(tensors["residual.weight"], dense.linear.weight)


def test_a_tokenizer_that_no_file_can_name_is_refused(tmp_path):
    class Mine(WordTokenizer):
        def set_vocab(self, vocab):
            pass

        def get_vocab(self):
            return ["a"]

        def tokenize(self, text, **kwargs):
            return [0]

    model = {"0": models.WordEmbeddings(Mine(), torch.randn(1, 2))}
    with pytest.raises(SettingError, match="tokenizer of class Mine cannot be saved"):
        save(model, {}, tmp_path / "model")
    assert not list(tmp_path.iterdir())


class Halved(torch.nn.Module):
    """An activation of somebody's own."""

    def __init__(self, by: float = 2.0) -> None:
        super().__init__()
        self.by = by

    def forward(self, x):
        return x / self.by


class Forgetful(torch.nn.Module):
    def __init__(self, by: float = 2.0) -> None:
        super().__init__()
        self.divisor = by


@pytest.mark.parametrize(
    "activation",
    [
        torch.nn.LeakyReLU(0.3),
        torch.nn.GELU(approximate="tanh"),
        torch.nn.Softmax(dim=-1),
        torch.nn.PReLU(),
        torch.tanh,
        torch.nn.functional.relu,
        None,
    ],
    ids=["leaky", "gelu", "softmax", "prelu", "tanh", "relu", "none"],
)
def test_activations_come_back_with_their_arguments(tmp_path, activation):
    dense = models.Dense(2, 3, activation_function=activation)
    save({"0": dense}, {}, tmp_path / "model")
    x = {"sentence_embedding": torch.tensor([[-1.0, 2.0], [0.3, -4.0]])}
    again = load(tmp_path / "model").modules["0"]
    assert torch.equal(again(x)["sentence_embedding"], dense(x)["sentence_embedding"])


def test_an_activation_of_another_package_needs_trust(tmp_path):
    dense = models.Dense(2, 2, activation_function=Halved(3.0))
    save({"0": dense}, {}, tmp_path / "model")
    with pytest.raises(UntrustedCodeError, match="config.json.*activation_function.*Halved"):
        load(tmp_path / "model")
    again = load(tmp_path / "model", trust_remote_code=True).modules["0"]
    assert again.activation_function.by == 3.0


@pytest.mark.parametrize(
    "activation", [torch.sin, lambda x: x, Forgetful(3.0)], ids=["sin", "lambda", "forgetful"]
)
def test_an_activation_that_could_not_be_made_again_is_not_saved(tmp_path, activation):
    dense = models.Dense(2, 2, activation_function=activation)
    with pytest.raises(SettingError, match="activation .* cannot be saved"):
        save({"0": dense}, {}, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert "Dense" in repr(dense)


@pytest.mark.slow
def test_the_real_minilm_survives(minilm_folder, tmp_path):
    loaded = load(minilm_folder)
    save(loaded.modules, loaded.settings, tmp_path / "model")
    again = load(tmp_path / "model")
    assert same_tensors(again.modules["0"], loaded.modules["0"])
    assert again.modules["0"].max_seq_length == 256
    texts = ["A text.", "Un texte plus long, avec des accents é."]
    one = SentenceTransformer(minilm_folder, device="cpu").encode(texts, convert_to_tensor=True)
    two = SentenceTransformer(tmp_path / "model", device="cpu").encode(
        texts, convert_to_tensor=True
    )
    assert torch.equal(one, two)


def test_a_second_limit_of_the_tokenizer_is_the_same(tmp_path):
    """As in all-MiniLM-L6-v2, whose tokenizer.json has 128; some programs take the smaller one."""
    from sentune.files.modules.checkpoint import write_tokenizer

    tokenizer = tiny.tokenizer()
    tokenizer.init_kwargs["max_length"] = 8
    write_tokenizer(tokenizer, tmp_path, 40)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert (config["model_max_length"], config["max_length"]) == (40, 40)
