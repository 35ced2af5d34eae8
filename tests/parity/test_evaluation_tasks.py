"""The evaluators of the less common tasks beside sentence-transformers 6.2.0."""

import json

import numpy as np
import pytest
import torch

import sentune.evaluation as ours
from tests.fake_encoder import FakeEncoder, sentences
from tests.parity.evaluators import ALL, assert_same, assert_same_files, peer

# Data without a single positive, and the like, make sklearn warn.
pytestmark = pytest.mark.filterwarnings("ignore")


class TestBinaryClassification:
    pairs = (sentences(80), sentences(80, seed=1))

    @pytest.mark.parametrize(
        "options", [{}, {"name": "dev", "similarity_fn_names": ALL}, {"truncate_dim": 3}], ids=str
    )
    @pytest.mark.parametrize("is_coarse", [False, True])
    @pytest.mark.parametrize("labels", ["mixed", "similar", "none", "all"])
    def test_metrics(self, tmp_path, options, is_coarse, labels):
        encoder = FakeEncoder(width=3, is_coarse=is_coarse)
        scores = (encoder.encode(self.pairs[0]) * encoder.encode(self.pairs[1])).sum(axis=1)
        random = np.random.default_rng(0)
        labels = {
            "mixed": random.integers(0, 2, 80),
            "similar": scores + random.normal(size=80) > np.median(scores),
            "none": np.zeros(80),
            "all": np.ones(80),
        }[labels].astype(int)
        assert_same(
            "BinaryClassificationEvaluator",
            tmp_path,
            *self.pairs,
            labels.tolist(),
            encoder={"width": 3, "is_coarse": is_coarse},
            **options,
        )


class TestReranking:
    samples = [
        {"query": text, "positive": sentences(i % 4, i), "negative": sentences(9, i + 100)}
        for i, text in enumerate(sentences(25, words=3))
    ]

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"name": "dev", "at_k": 3},
            {"use_batched_encoding": False, "truncate_dim": 5},
            {"mrr_at_k": 5},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("encoder", [{}, {"width": 2, "is_coarse": True}], ids=str)
    def test_metrics(self, tmp_path, options, encoder):
        from sentune.vectors.similarity import dot_score

        if encoder:  # exact scores, so that equal ones are equal in both
            options = {**options, "similarity_fct": dot_score}
        assert_same("RerankingEvaluator", tmp_path, self.samples, encoder=encoder, **options)

    def test_one_document_instead_of_a_list(self, tmp_path):
        samples = {"x": {"query": "w1 w2", "positive": "w1 w3", "negative": ["w5", "w1 w2"]}}
        assert_same("RerankingEvaluator", tmp_path, samples)


class TestParaphraseMining:
    texts = {f"id{i}": text for i, text in enumerate(sentences(60, words=3))}
    texts |= {f"copy{i}": text + " w1" for i, text in enumerate(list(texts.values())[:25])}
    same = [(f"id{i}", f"copy{i}") for i in range(25)] + [("id1", "id2"), ("id2", "gone")]

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"name": "dev", "max_pairs": 40},
            {"add_transitive_closure": True, "top_k": 4},
            {"query_chunk_size": 10, "corpus_chunk_size": 20, "truncate_dim": 9},
        ],
        ids=str,
    )
    def test_metrics(self, tmp_path, options):
        options = {**options, "duplicates_list": self.same}
        found = assert_same("ParaphraseMiningEvaluator", tmp_path, self.texts, **options)
        assert max(found.values()) > 0.1

    @pytest.mark.parametrize("is_closed", [False, True])
    def test_duplicates_as_a_dict(self, tmp_path, is_closed):
        duplicates = {name: dict.fromkeys(self.texts, False) for name in self.texts}
        for one, other in [*self.same[:-1], ("id3", "id4"), ("copy4", "copy5")]:
            duplicates[one][other] = duplicates[other][one] = True
        assert_same(
            "ParaphraseMiningEvaluator",
            tmp_path,
            self.texts,
            duplicates_dict=duplicates,
            add_transitive_closure=is_closed,
        )

    def test_nothing_that_means_the_same(self, tmp_path):
        assert_same("ParaphraseMiningEvaluator", tmp_path, self.texts)


class TestTranslation:
    @pytest.mark.parametrize("options", [{}, {"name": "dev", "truncate_dim": 6}], ids=str)
    def test_accuracies(self, tmp_path, options):
        sources = sentences(80, words=3)
        targets = [f"{text} w{i % 7} w{i % 11}" for i, text in enumerate(sources)]
        targets[5] = targets[4]
        found = assert_same("TranslationEvaluator", tmp_path, sources, targets, **options)
        assert any(0 < value < 1 for value in found.values())


class TestMSE:
    @pytest.mark.parametrize("options", [{}, {"name": "dev", "truncate_dim": 6}], ids=str)
    def test_distance_to_a_teacher(self, tmp_path, options):
        options = {"teacher_model": FakeEncoder(), **options}
        assert_same("MSEEvaluator", tmp_path, sentences(40), sentences(40, seed=1), **options)

    @pytest.mark.parametrize("options", [{}, {"name": "dev", "truncate_dim": 6}], ids=str)
    def test_several_languages(self, tmp_path, options):
        languages = [sentences(20, seed=seed) for seed in range(3)]
        languages[1][3] = " "
        rows = [
            dict(zip(("en", "de", "fr"), row, strict=True)) for row in zip(*languages, strict=True)
        ]
        pairs = [("en", "de"), ("en", "fr")]
        args = (rows, FakeEncoder(), pairs)
        assert_same("MSEEvaluatorFromDataFrame", tmp_path, *args, **options)


class TestLabelAccuracy:
    def test_accuracy(self, tmp_path):
        from torch.utils.data import DataLoader

        from sentune.data.example import InputExample

        texts = sentences(50)
        examples = [
            InputExample(texts=[text, text[::-1]], label=i % 3) for i, text in enumerate(texts)
        ]

        class Model(FakeEncoder, torch.nn.Module):
            device = "cpu"

            def __init__(self):
                torch.nn.Module.__init__(self)
                FakeEncoder.__init__(self)

            def tokenize(self, texts):
                return {"sentence_embedding": torch.tensor(self.encode(texts))}

            def smart_batching_collate(self, examples):
                columns = zip(*(example.texts for example in examples), strict=True)
                labels = torch.tensor([example.label for example in examples])
                return [self.tokenize(column) for column in columns], labels

            def eval(self):
                return torch.nn.Module.eval(self)

        def classifier(features, labels):
            assert labels is None
            u, v = (column["sentence_embedding"] for column in features)
            return (u, v), (u - v)[:, :3]

        for name in ("", "dev"):
            results = []
            for library, folder in ((ours, tmp_path / "ours"), (peer, tmp_path / "peer")):
                loader = DataLoader(examples, batch_size=8, collate_fn=list)
                evaluator = library.LabelAccuracyEvaluator(loader, name, softmax_model=classifier)
                model = Model().train()
                results.append(evaluator(model, str(folder)))
                evaluator(model, str(folder))
                assert model.training == (library is ours)  # ours leaves it as it was
            assert results[0] == results[1]
            assert 0 < next(iter(results[0].values())) < 1
            assert (loader.collate_fn is list) == (library is ours)
        assert_same_files(tmp_path / "ours", tmp_path / "peer")


class TestSequential:
    def test_metrics_of_all(self):
        found = []
        for library in (ours, peer):
            first = library.TripletEvaluator(["w1 w2"], ["w1"], ["w5"], name="a")
            second = library.EmbeddingSimilarityEvaluator(
                sentences(9), sentences(9, seed=1), list(range(9)), name="b"
            )
            for evaluators, options in (
                ([first, second], {}),
                ([second, first], {"main_score_function": max}),
                ([first, lambda *args: 0.25], {}),
                ([], {}),
            ):
                evaluator = library.SequentialEvaluator(evaluators, **options)
                found.append((evaluator(FakeEncoder()), evaluator.primary_metric))
        for mine, theirs in zip(found[:4], found[4:], strict=True):
            assert mine[0] == pytest.approx(theirs[0], abs=1e-6)
            assert mine[1] == theirs[1] == "sequential_score"


class TestNanoBEIR:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        """A local copy of the shape: a file per part and collection, and the list of them."""
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
        folder = tmp_path / "nano"
        random = np.random.default_rng(0)
        names = ["NanoMSMARCO", "NanoNQ", "NanoSciFact"]
        for seed, name in enumerate(names):
            corpus = sentences(40, seed=seed, words=4)
            parts = {
                "corpus": [{"_id": f"d{i}", "text": text} for i, text in enumerate(corpus)],
                "queries": [{"_id": f"q{i}", "text": corpus[i] + " w3 w4"} for i in range(12)],
                "qrels": [
                    {"query-id": f"q{i}", "corpus-id": f"d{d}"}
                    for i in range(12)
                    for d in (i, *random.integers(0, 40, 2))
                ],
            }
            parts["corpus"][7]["text"] = ""
            for part, rows in parts.items():
                path = folder / part / f"{name}.jsonl"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        configs = "".join(
            f"- config_name: {part}\n  data_files:\n"
            + "".join(f"  - split: {name}\n    path: {part}/{name}.jsonl\n" for name in names)
            for part in ("corpus", "queries", "qrels")
        )
        (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
        return str(folder)

    @pytest.mark.parametrize(
        "options",
        [
            {"dataset_names": ["msmarco"]},
            {"dataset_names": ["MSMARCO", "nq", "scifact"], "truncate_dim": 6},
            {"dataset_names": ["nq", "scifact"], "query_prompts": "w1 ", "ndcg_at_k": [3, 5]},
            {
                "dataset_names": ["nq", "scifact"],
                "corpus_prompts": {"nq": "w5 ", "scifact": "w6 "},
                "aggregate_fn": max,
                "aggregate_key": "max",
                "main_score_function": "cosine",
            },
        ],
        ids=str,
    )
    def test_metrics(self, tmp_path, folder, options):
        assert_same("NanoBEIREvaluator", tmp_path, dataset_id=folder, **options)
