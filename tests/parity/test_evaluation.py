"""Evaluators give the numbers, keys and files of sentence-transformers 6.2.0."""

import json

import numpy as np
import pytest
import torch

import sentune.evaluation as ours
from tests.fake_encoder import FakeEncoder, sentences
from tests.parity.evaluators import ALL, assert_same, peer

# Correlations of rows that never vary, and the like, make scipy and sklearn warn.
pytestmark = pytest.mark.filterwarnings("ignore")


def gold(count):
    return np.random.default_rng(5).integers(0, 6, count).astype(float).tolist()


class TestEmbeddingSimilarity:
    pairs = (sentences(60), sentences(60, seed=1), gold(60))

    @pytest.mark.parametrize("similarity", ALL)
    def test_the_similarity_of_the_model(self, tmp_path, similarity):
        assert_same(
            "EmbeddingSimilarityEvaluator",
            tmp_path,
            *self.pairs,
            encoder={"similarity_fn_name": similarity, "is_coarse": True},
        )

    @pytest.mark.parametrize(
        "options",
        [
            {"name": "dev", "similarity_fn_names": ALL},
            {"main_similarity": "dot"},
            {"main_similarity": "dot", "similarity_fn_names": ALL, "truncate_dim": 5},
            {"precision": "int8"},
            {"precision": "uint8", "similarity_fn_names": ALL},
            {"precision": "binary", "similarity_fn_names": ALL, "name": "x"},
            {"precision": "ubinary"},
            {"precision": "float32"},
        ],
        ids=str,
    )
    def test_options(self, tmp_path, options):
        assert_same("EmbeddingSimilarityEvaluator", tmp_path, *self.pairs, **options)

    def test_gold_scores_that_never_vary(self, tmp_path):
        figures = assert_same("EmbeddingSimilarityEvaluator", tmp_path, *self.pairs[:2], [1.0] * 60)
        assert np.isnan(figures["spearman_cosine"])


class TestTriplet:
    triplets = (sentences(50), sentences(50, seed=1), sentences(50, seed=2))

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"name": "dev", "similarity_fn_names": ALL},
            {"main_similarity_function": "euclidean", "margin": 0.1},
            {"similarity_fn_names": ALL, "margin": {"cosine": 0.2, "dot": 3.0}},
            {"main_similarity_function": "dot", "similarity_fn_names": ALL, "truncate_dim": 7},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("is_coarse", [False, True])
    def test_accuracies(self, tmp_path, options, is_coarse):
        figures = assert_same(
            "TripletEvaluator",
            tmp_path,
            *self.triplets,
            encoder={"is_coarse": is_coarse},
            **options,
        )
        assert 0 < next(iter(figures.values())) < 1


class TestInformationRetrieval:
    queries = {f"q{i}": text for i, text in enumerate(sentences(20))}
    corpus = {f"d{i}": text for i, text in enumerate(sentences(150, seed=1, words=4))}
    relevant = {
        f"q{i}": {f"d{d}" for d in np.random.default_rng(i).integers(0, 160, i % 5)}
        for i in range(20)
    }

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"name": "dev", "corpus_chunk_size": 13},
            {"mrr_at_k": [1, 5], "ndcg_at_k": [3, 20], "accuracy_at_k": [2], "map_at_k": [7, 300]},
            {"precision_recall_at_k": [4, 200], "truncate_dim": 6},
            {"query_prompt": "w1 w2 ", "corpus_prompt": "w3 "},
            {"main_score_function": "cosine"},
        ],
        ids=str,
    )
    @pytest.mark.parametrize(
        "encoder",
        [
            {},
            {"is_coarse": True, "similarity_fn_name": "dot", "width": 4},
            {"is_coarse": True, "similarity_fn_name": "dot", "width": 1},
        ],
        ids=str,
    )
    def test_metrics(self, tmp_path, options, encoder):
        args = (self.queries, self.corpus, self.relevant)
        if "main_score_function" in options and encoder:
            return
        assert_same("InformationRetrievalEvaluator", tmp_path, *args, encoder=encoder, **options)

    def test_several_score_functions_and_predictions(self, tmp_path):
        from sentune.vectors.similarity import cos_sim, dot_score

        assert_same(
            "InformationRetrievalEvaluator",
            tmp_path,
            self.queries,
            self.corpus,
            self.relevant,
            name="x",
            score_functions={"dot": dot_score, "cosine": cos_sim},
            write_predictions=True,
            encoder={"is_coarse": True, "width": 3},
        )
        name = "Information-Retrieval_evaluation_x_predictions_dot.jsonl"
        mine, theirs = (
            [json.loads(line) for line in (tmp_path / who / name).read_text().splitlines()]
            for who in ("ours", "peer")
        )
        assert mine == theirs
        assert len(mine) == 16  # the queries with something relevant

    def test_documents_already_encoded(self):
        embeddings = torch.tensor(
            np.random.default_rng(0).normal(size=(150, 24)).astype(np.float32)
        )
        figures = [
            library.InformationRetrievalEvaluator(self.queries, self.corpus, self.relevant)(
                FakeEncoder(), corpus_embeddings=embeddings
            )
            for library in (ours, peer)
        ]
        assert figures[0] == pytest.approx(figures[1], abs=1e-6)

    def test_ids_that_are_numbers(self, tmp_path):
        queries = dict(enumerate(self.queries.values()))
        corpus = dict(enumerate(self.corpus.values()))
        relevant = {i: [i, i + 3] for i in range(20)}
        encoder = {"is_coarse": True, "similarity_fn_name": "dot", "width": 2}
        assert_same(
            "InformationRetrievalEvaluator", tmp_path, queries, corpus, relevant, encoder=encoder
        )
