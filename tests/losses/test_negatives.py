import pytest
import torch

from sentune import losses
from sentune.errors import InputError, SettingError
from tests.losses.tools import TableModel, column, value_and_gradient
from tests.tiny import tokenizer

FEATURES = [column(6, seed) for seed in range(3)]


def test_without_doubts_of_the_guide_it_is_plain_contrast():
    columns = [torch.randn(5, 4) for _ in range(3)]
    certain = [torch.eye(5), torch.eye(5), torch.zeros(5, 5)]
    loss = losses.GISTEmbedLoss(
        TableModel(), TableModel(), 0.05, contrast_anchors=False, contrast_positives=False
    )
    plain = losses.MultipleNegativesRankingLoss(TableModel(), scale=20.0)
    torch.testing.assert_close(loss.compute(columns, guide=certain), plain.compute(columns))


def test_what_the_guide_finds_closer_than_the_pair_is_left_out():
    columns = [torch.randn(2, 4) for _ in range(2)]
    # To the guide both texts of row 0 and the positive of row 1 are the same.
    guide = [torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.5], [1.0, 0.0]])]
    options = {"contrast_anchors": False, "contrast_positives": False}
    loss = losses.GISTEmbedLoss(TableModel(), TableModel(), 1.0, **options)
    scores = losses.base.full_precision(torch.cosine_similarity(columns[0][1:2], columns[1]))
    expected = torch.nn.functional.cross_entropy(scores[None], torch.tensor([1])) / 2
    assert loss.compute(columns, guide=guide).item() >= 0
    # Row 0 has nobody left to be told from; row 1's guide finds row 0's positive closer as well.
    torch.testing.assert_close(loss.compute(columns, guide=guide), expected * 0)


def test_a_margin_leaves_out_more():
    columns, guide = ([torch.randn(8, 4) for _ in range(2)] for _ in range(2))
    values = [
        losses.GISTEmbedLoss(TableModel(), TableModel(), margin=margin).compute(
            columns, guide=guide
        )
        for margin in (-3, 0, 0.2, 3)
    ]
    assert values == sorted(values, reverse=True) and values[-1] == 0


@pytest.mark.parametrize(("lead", "is_left_out"), [(0.0, False), (3e-7, False), (1e-4, True)])
def test_what_the_guide_finds_as_close_as_the_pair_but_for_rounding_stays(lead, is_left_out):
    anchors = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # Cosines to either anchor: the first positive 0.5, the second a little more.
    cosines = torch.tensor([0.5, 0.5 + lead])
    positives = torch.stack([cosines, (1 - cosines**2).sqrt()], dim=1)
    options = {"contrast_anchors": False, "contrast_positives": False}
    loss = losses.GISTEmbedLoss(TableModel(), TableModel(), 1.0, **options)
    rows = torch.eye(2)
    each = torch.tensor([1.0, 0.0]).logsumexp(dim=0) - 1  # of a row that sees the other's positive
    expected = (each * (0 if is_left_out else 1) + each) / 2
    torch.testing.assert_close(loss.compute([rows, rows], guide=[anchors, positives]), expected)


@pytest.mark.parametrize("loss", [losses.GISTEmbedLoss, losses.CachedGISTEmbedLoss])
def test_the_guide_is_asked_without_gradient_and_is_no_part_of_the_loss(loss):
    guide = TableModel(seed=5, dropout=0.5).eval()
    made = loss(TableModel(), guide)
    made.train()
    assert not any(rows.requires_grad for rows in made.context(FEATURES)["guide"])
    guide.rows_seen.clear()
    value_and_gradient(made, FEATURES)
    assert not guide.training and guide.table.grad is None and sum(guide.rows_seen) == 18
    assert [name for name, _ in made.named_parameters()] == ["model.table"]
    assert made.guide is guide and made.settings()["guide"].endswith("TableModel")


class Counting(losses.CachedGISTEmbedLoss):
    calls = 0

    def sim_matrix(self, embed1, embed2):
        self.calls += 1
        return super().sim_matrix(embed1, embed2)


def test_cosines_are_normalised_once_and_scores_of_a_subclass_are_asked_for(monkeypatch):
    normalize, rows = torch.nn.functional.normalize, []
    monkeypatch.setattr(
        torch.nn.functional, "normalize", lambda x, **kw: rows.append(len(x)) or normalize(x, **kw)
    )
    given = [torch.randn(7, 4, dtype=torch.double) for _ in range(6)]
    results = []
    for make in (losses.CachedGISTEmbedLoss, Counting):
        columns = [column.clone().requires_grad_() for column in given[:3]]
        loss = make(TableModel(), TableModel(), mini_batch_size=2)
        loss.compute(columns, guide=given[3:]).backward()
        results.append([column.grad for column in columns])
        if make is losses.CachedGISTEmbedLoss:
            assert rows == [7] * 6  # with the guide's, and not again for the gradient
    assert loss.calls
    torch.testing.assert_close(*results)


def test_the_cached_name_is_the_loss_with_mini_batches():
    small = losses.CachedGISTEmbedLoss(
        TableModel().double(), TableModel(seed=5), 0.1, 4, 9, False, "relative", 0.1, False
    )
    whole = losses.GISTEmbedLoss(
        TableModel().double(), TableModel(seed=5), 0.1, "relative", 0.1, contrast_anchors=False
    )
    torch.testing.assert_close(
        value_and_gradient(small, FEATURES), value_and_gradient(whole, FEATURES)
    )
    assert small.mini_batch_num_tokens == 9 and len(small.model.rows_seen) > 2
    assert losses.CachedGISTEmbedLoss(TableModel(), TableModel()).mini_batch_size == 32


class Reader(TableModel):
    """A table model with a tokenizer, that reads texts itself."""

    def __init__(self, tokenizer, limit, **options):
        super().__init__(tokens=200, **options)
        self.tokenizer, self.max_seq_length, self.texts = tokenizer, limit, []

    def tokenize(self, texts):
        self.texts += texts
        return self.tokenizer(
            texts, return_tensors="pt", padding=True, truncation=True, max_length=8
        )


def other_tokenizer():
    other = tokenizer()
    other.add_tokens(["elsewhere"])
    return other


@pytest.mark.parametrize(
    ("guide_tokenizer", "limit", "is_read_anew"),
    [
        (tokenizer, 64, False),
        (tokenizer, 128, False),
        (tokenizer, None, False),
        (tokenizer, 32, True),
        (other_tokenizer, 64, True),
    ],
)
def test_texts_are_read_anew_for_a_guide_with_other_tokens(guide_tokenizer, limit, is_read_anew):
    texts = [["the cat sat", "a dog"], ["red house", "the river"]]
    model, guide = Reader(tokenizer(), 64), Reader(guide_tokenizer(), limit, seed=3)
    features = [dict(model.tokenize(column)) for column in texts]
    losses.GISTEmbedLoss(model, guide)(features).backward()
    assert guide.texts == (sum(texts, []) if is_read_anew else [])
    assert guide.rows_seen == [4]


def test_a_guide_that_cannot_be_asked_is_refused():
    with pytest.raises(SettingError, match="both the model and its guide need a tokenizer"):
        losses.GISTEmbedLoss(TableModel(), Reader(tokenizer(), 8))
    model, guide = Reader(tokenizer(), 64), Reader(other_tokenizer(), 64)
    loss = losses.GISTEmbedLoss(model, guide)
    with pytest.raises(InputError, match="needs text, got features .*'pixels'"):
        loss.context([{"pixels": torch.zeros(2, 3)}] * 2)
    with pytest.raises(InputError, match="wants the guide's embedding of every text"):
        loss.compute([torch.randn(3, 2)] * 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature must be > 0"),
        ({"margin_strategy": "both"}, "margin_strategy must be one of"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(SettingError, match=message):
        losses.GISTEmbedLoss(TableModel(), TableModel(), **options)


def test_mega_batch_margin_by_hand():
    anchors = torch.eye(2)
    positives = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    # Row 0: 0 + (0.6 - 0.3). Row 1: 0 (0.8 reaches the margin) + 0.
    value = losses.MegaBatchMarginLoss(TableModel()).compute([anchors, positives])
    assert value.item() == pytest.approx(0.15, abs=1e-6)


def test_mega_batch_runs_in_mini_batches_unless_told_otherwise():
    features = [column(60, seed) for seed in range(2)]
    for options, seen in (({}, [56, 64]), ({"use_mini_batched_version": False}, [120])):
        loss = losses.MegaBatchMarginLoss(TableModel(), **options)
        with torch.no_grad():
            loss(features)
        assert loss.model.rows_seen == seen


def test_a_batch_of_one_has_no_negative():
    rows = torch.randn(1, 4, requires_grad=True)
    value = losses.MegaBatchMarginLoss(TableModel()).compute([rows, rows])
    value.backward()
    assert value == 0 and rows.grad.isfinite().all()
