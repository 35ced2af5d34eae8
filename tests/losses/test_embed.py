import pytest
import torch

from sentune import SentenceTransformer
from sentune.engine import packing
from sentune.errors import SettingError
from sentune.losses import Loss
from sentune.losses.embed import Embedder, by_rows, embed, select
from sentune.models import StaticEmbedding
from sentune.text import layouts
from tests import tiny
from tests.losses.tools import TableModel, column


def test_all_columns_go_through_the_model_in_one_pass():
    model = TableModel()
    columns = [column(5, seed) for seed in range(3)]
    embedded = embed(model, columns)
    assert model.rows_seen == [15]
    for features, rows in zip(columns, embedded, strict=True):
        torch.testing.assert_close(rows, model(features)["sentence_embedding"])


def test_columns_may_have_different_numbers_of_rows():
    embedded = embed(TableModel(), [column(2, 0), column(5, 1)])
    assert [len(rows) for rows in embedded] == [2, 5]


def test_padded_features_made_by_hand_mean_the_same():
    model = TableModel()
    ragged = [column(5, 0), column(5, 1)]
    right = [packing.pad(features) for features in ragged]
    left = [right[0], packing.pad(ragged[1], side="left")]  # whose positions are those of its slots
    for padded in (right, left):
        for a, b in zip(embed(model, ragged), embed(model, padded), strict=True):
            torch.testing.assert_close(a, b)
    assert model.rows_seen == [10, 10, 10, 5, 5]


def test_columns_of_different_routes_are_not_mixed():
    class Routed(TableModel):
        def forward(self, features):
            out = super().forward(features)
            sign = {"query": 1.0, "document": -1.0}[features["task"]]
            return {**out, "sentence_embedding": sign * out["sentence_embedding"]}

    model = Routed()
    tasks = ["query", "document", "document"]
    columns = [{**column(4, seed), "task": task} for seed, task in enumerate(tasks)]
    expected = [model(features)["sentence_embedding"] for features in columns]
    model.rows_seen.clear()
    for mini_batch_size in (None, 3):
        for a, b in zip(embed(model, columns, mini_batch_size), expected, strict=True):
            torch.testing.assert_close(a, b)
    assert model.rows_seen[:2] == [4, 8]


def test_features_that_are_not_text_are_embedded_column_by_column():
    model = lambda features: {"sentence_embedding": features["pixels"].mean(dim=1)}  # noqa: E731
    columns = [{"pixels": torch.randn(5, 3, 4), "note": "x"} for _ in range(2)]
    for size in (None, 2):
        for features, rows in zip(columns, embed(model, columns, size), strict=True):
            torch.testing.assert_close(rows, features["pixels"].mean(dim=1))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 11])
def test_mini_batches_give_the_same_embeddings_and_gradient(size):
    columns = [column(5, seed) for seed in range(2)]
    weights = torch.randn(10, 6)
    grads = []
    for mini_batch_size in (None, size):
        model = TableModel()
        embedded = torch.cat(embed(model, columns, mini_batch_size))
        (embedded * weights).sum().backward()
        grads.append((embedded.detach(), model.table.grad))
    torch.testing.assert_close(grads[0], grads[1])


def test_a_mini_batch_is_forgotten_and_run_again():
    model = TableModel()
    embedded = embed(model, [column(7, 0)], mini_batch_size=3)
    assert model.rows_seen == [3, 4]
    embedded[0].sum().backward()
    assert sorted(model.rows_seen) == [3, 3, 4, 4]


def test_nothing_is_run_again_without_gradient():
    model = TableModel()
    with torch.no_grad():
        embedded = embed(model, [column(7, 0)], mini_batch_size=3)
    assert not embedded[0].requires_grad
    assert model.rows_seen == [3, 4]


def test_dropout_is_the_same_when_run_again():
    features = column(7, 0)
    weights = torch.randn(7, 6)
    model = TableModel(dropout=0.5)
    torch.manual_seed(1)
    embedded = embed(model, [features], mini_batch_size=3)[0]
    torch.manual_seed(99)  # whatever happens between forward and backward
    (embedded * weights).sum().backward()

    plain = TableModel(dropout=0.5)
    torch.manual_seed(1)
    order = list(layouts.batches_by_length(features["lengths"], 3))
    parts = [plain(select(features, rows))["sentence_embedding"] for rows in order]
    flat = torch.tensor([row for rows in order for row in rows])
    (torch.cat(parts) * weights[flat]).sum().backward()
    torch.testing.assert_close(model.table.grad, plain.table.grad, rtol=0, atol=0)


def test_a_mini_batch_holds_so_many_of_the_longest_rows_or_more_of_shorter_ones():
    lengths = [4, 1, 9, 2, 3, 3, 1, 1]
    model = TableModel()
    embed(model, [layouts.ragged(torch.arange(sum(lengths)), lengths)], mini_batch_size=2)
    assert model.rows_seen == [3, 5]  # 9 + 4 + 3 of 18 tokens; the rest


def test_a_mini_batch_can_be_bounded_by_its_tokens():
    lengths = [4, 1, 9, 2, 3, 3]
    features = layouts.ragged(torch.arange(sum(lengths)), lengths)
    model = TableModel()
    embedded = Embedder(mini_batch_num_tokens=6)(model, [features])[0]
    assert model.rows_seen == [1, 1, 2, 2]  # 9 alone; 4; 3 + 3; 2 + 1
    torch.testing.assert_close(embedded, model(features)["sentence_embedding"])


def test_many_mini_batches_sum_up_their_gradients_in_full_precision():
    """In bfloat16 a sum of equal terms stands still after 256 of them."""

    class Rounded(TableModel):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(6, 6)

        def forward(self, features):
            found = super().forward(features)
            return {**found, "sentence_embedding": self.layer(found["sentence_embedding"])}

    rows = 600
    features = layouts.ragged(torch.ones(rows, dtype=torch.int64), [1] * rows)
    gradients = []
    for size in (None, 1):
        torch.manual_seed(0)
        model = Rounded()
        with torch.autocast("cpu", torch.bfloat16):
            embed(model, [features], mini_batch_size=size)[0].float().sum().backward()
        gradients.append(model.layer.weight.grad)
    torch.testing.assert_close(*gradients, rtol=0.02, atol=0.02)


def test_a_progress_bar_is_drawn_on_demand(capsys):
    for shown in (False, True):
        Embedder(2, show_progress_bar=shown)(TableModel(), [column(5, 0)])
        assert ("Mini-batches" in capsys.readouterr().err) == shown


@pytest.mark.parametrize("size", [None, 1, 3, 8, 100])
def test_scores_row_by_row_are_the_scores(size):
    a = torch.randn(8, 4, requires_grad=True)
    losses = by_rows(lambda rows: (a[rows] @ a.T).logsumexp(dim=1), torch.arange(8), size)
    torch.testing.assert_close(losses, (a @ a.T).logsumexp(dim=1))
    gradient = torch.autograd.grad(losses.sum(), a)[0]
    torch.testing.assert_close(gradient, torch.autograd.grad((a @ a.T).logsumexp(1).sum(), a)[0])


@pytest.mark.parametrize("size", [0, -1])
def test_a_mini_batch_of_no_rows_is_refused(size):
    with pytest.raises(SettingError, match="mini_batch_size must be a whole number of at least 1"):
        Loss(TableModel(), mini_batch_size=size)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_features_of_a_static_model_are_taken_row_by_row(size):
    model = SentenceTransformer(
        modules=[StaticEmbedding(tiny.tokenizer(), embedding_dim=4)], device="cpu"
    )
    columns = [["a dog", "the cat sat on the mat", "", "birds", "the end"], ["cat"] * 5]
    features = [model.preprocess(texts) for texts in columns]
    weight = model[0].embedding.weight
    found = []
    for mini_batch_size in (None, size):
        model.zero_grad()
        embedded = embed(model, features, mini_batch_size)
        sum((rows * (1 + place)).square().sum() for place, rows in enumerate(embedded)).backward()
        found.append([*embedded, weight.grad.clone()])
    expected = [torch.tensor(model.encode(texts)) for texts in columns]
    for place in range(3):
        torch.testing.assert_close(found[0][place], found[1][place])
    torch.testing.assert_close(found[0][:2], expected)
