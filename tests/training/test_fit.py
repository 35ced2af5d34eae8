"""`model.fit`: DataLoaders of InputExamples in, a trained model out."""

import math
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from sentune.data.example import InputExample
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import DatasetError, SentuneWarning, SettingError
from sentune.losses import CosineSimilarityLoss, MultipleNegativesRankingLoss, TripletLoss
from sentune.training.fit import fit
from sentune.training.fit_loaders import LoaderBatches, LoaderRows
from tests.training.tools import PAIRS, SCORED, LossWithHead, assert_trained, weights

RANKED = [InputExample(texts=list(texts)) for texts in zip(*PAIRS.values(), strict=True)]
SCORES = [
    InputExample(texts=[a, b], label=score) for a, b, score in zip(*SCORED.values(), strict=True)
]
QUIET = {"show_progress_bar": False, "warmup_steps": 0}


def order_of(loader, steps, epochs=1, seed=0):
    sampler = LoaderBatches(LoaderRows(loader), steps, seed)
    batches = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        batches.append(list(sampler))
    return batches


class Scores:
    """An evaluator that gives set scores."""

    primary_metric = "score"

    def __init__(self, *scores):
        self.scores = list(scores)
        self.paths = []

    def __call__(self, model, output_path=None, epoch=-1, steps=-1):
        self.paths.append(output_path)
        return {"score": self.scores.pop(0), "other": 0.0}


# Training ---------------------------------------------------------------------------------------


def test_the_model_learns(tiny_model):
    loss = MultipleNegativesRankingLoss(tiny_model)
    features = [tiny_model.read(PAIRS[name]) for name in PAIRS]
    before = loss(features).item()
    loader = DataLoader(RANKED, batch_size=5, shuffle=True)
    result = tiny_model.fit([(loader, loss)], epochs=8, optimizer_params={"lr": 1e-3}, **QUIET)
    assert result is None
    assert loss(features).item() < 0.5 * before
    assert not tiny_model.training


def test_weights_of_the_loss_are_trained(tiny_model):
    loss = LossWithHead(tiny_model)
    before = weights(loss.head)
    fit(tiny_model, [(DataLoader(SCORES, batch_size=5), loss)], **QUIET)
    assert_trained(before, weights(loss.head))


def test_the_loader_is_left_as_it_is(tiny_model):
    def collate(batch):
        raise AssertionError("not used")

    loader = DataLoader(RANKED, batch_size=5, collate_fn=collate)
    fit(tiny_model, [(loader, MultipleNegativesRankingLoss(tiny_model))], **QUIET)
    assert loader.collate_fn is collate


class SeesRows(MultipleNegativesRankingLoss):
    """Notes how many rows and columns come, and which labels."""

    def __init__(self, model):
        super().__init__(model)
        self.seen = []

    def forward(self, sentence_features, labels=None):
        features = list(sentence_features)
        label = None if labels is None else labels.tolist()
        self.seen.append((len(features), len(features[0]["input_ids"]), label))
        return super().forward(features, None)


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_the_loaders_batches_are_trained_on(tiny_model, drop_last, sizes):
    loss = SeesRows(tiny_model)
    loader = DataLoader(RANKED, batch_size=4, drop_last=drop_last)
    fit(tiny_model, [(loader, loss)], **QUIET)
    assert loss.seen == [(2, size, None) for size in sizes]


def test_labels_come_where_examples_have_them(tiny_model):
    loss = SeesRows(tiny_model)
    fit(tiny_model, [(DataLoader(SCORES, batch_size=5), loss)], steps_per_epoch=1, **QUIET)
    assert loss.seen[0][2] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_objectives_take_turns_until_the_smallest_is_through(tiny_model):
    first, second = SeesRows(tiny_model), SeesRows(tiny_model)
    turns = []
    first.register_forward_pre_hook(lambda *_: turns.append("first"))
    second.register_forward_pre_hook(lambda *_: turns.append("second"))
    loaders = DataLoader(RANKED, batch_size=2), DataLoader(RANKED, batch_size=5)
    fit(tiny_model, [(loaders[0], first), (loaders[1], second)], **QUIET)
    assert turns == ["first", "second"] * 2
    assert [size for _, size, _ in first.seen] == [2, 2]
    assert [size for _, size, _ in second.seen] == [5, 5]


def test_objectives_share_the_model_and_keep_their_losses(tiny_model):
    triplets = [InputExample(texts=[*e.texts, e.texts[0].upper()]) for e in RANKED]
    losses = LossWithHead(tiny_model), TripletLoss(tiny_model)
    before = weights(tiny_model), weights(losses[0].head)
    loaders = DataLoader(SCORES, batch_size=5), DataLoader(triplets, batch_size=5)
    fit(tiny_model, list(zip(loaders, losses, strict=True)), **QUIET)
    assert_trained(before[0], weights(tiny_model))
    assert_trained(before[1], weights(losses[0].head))


@pytest.mark.parametrize(
    ("options", "steps"), [({}, 3), ({"epochs": 2}, 6), ({"steps_per_epoch": 5, "epochs": 2}, 10)]
)
def test_how_many_steps_are_done(tiny_model, options, steps):
    loss = SeesRows(tiny_model)
    fit(tiny_model, [(DataLoader(RANKED, batch_size=4), loss)], **QUIET, **options)
    assert len(loss.seen) == steps


# The order of the rows --------------------------------------------------------------------------


def test_without_shuffle_rows_keep_their_order():
    assert order_of(DataLoader(RANKED, batch_size=4), 3) == [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]]


def test_shuffled_rows_all_come_and_differ_from_epoch_to_epoch():
    loader = DataLoader(RANKED, batch_size=4, shuffle=True)
    first, second = order_of(loader, 3, epochs=2)
    assert sorted(row for batch in first for row in batch) == list(range(10))
    assert first != second
    assert order_of(loader, 3, epochs=2) == [first, second]


def test_drawing_the_order_leaves_the_random_numbers_alone():
    def states():
        numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002
        return torch.get_rng_state().tolist(), random.getstate(), numpy_state

    before = states()
    order_of(DataLoader(RANKED, batch_size=4, shuffle=True), 3)
    assert states() == before


def test_the_seed_of_the_user_decides_the_order(tiny_model):
    def order(seed):
        loss = SeesRows(tiny_model)
        torch.manual_seed(seed)
        fit(tiny_model, [(DataLoader(SCORES, batch_size=5, shuffle=True), loss)], **QUIET)
        return [tuple(labels) for _, _, labels in loss.seen]

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_a_larger_loader_goes_on_in_the_next_epoch():
    loader = DataLoader(RANKED, batch_size=2)
    flat = [[row for batch in epoch for row in batch] for epoch in order_of(loader, 2, epochs=3)]
    assert flat == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]


def test_a_smaller_loader_begins_again():
    ((*batches,),) = order_of(DataLoader(RANKED[:4], batch_size=2), 3)
    assert batches == [[0, 1], [2, 3], [0, 1]]


@pytest.mark.parametrize("seed", [None, 3])
def test_an_epoch_can_be_drawn_without_those_before_it(seed):
    """As after a resume: the second epoch alone is the second epoch of a whole run."""

    def loader():
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return DataLoader(RANKED, batch_size=4, shuffle=True, generator=generator)

    whole = order_of(loader(), 3, epochs=2)
    alone = LoaderBatches(LoaderRows(loader()), 3, 0)
    alone.set_epoch(1)
    assert list(alone) == whole[1]


# Loaders of other kinds -------------------------------------------------------------------------


class Stream(IterableDataset):
    def __iter__(self):
        return iter(RANKED)


class StreamWithLength(Stream):
    def __len__(self):
        return len(RANKED)


class OwnLoader:
    """As the peer's loaders: batches of examples, no DataLoader."""

    def __iter__(self):
        for start in (0, 5):
            yield RANKED[start : start + 5]

    def __len__(self):
        return 2


class Made(torch.utils.data.Dataset):
    """Examples made when they are asked for."""

    def __len__(self):
        return 4

    def __getitem__(self, place):
        return InputExample(texts=[f"a {place}", f"b {place}"])


@pytest.mark.parametrize(
    ("loader", "sizes"),
    [
        (DataLoader(StreamWithLength(), batch_size=4), [4, 4, 2]),
        (OwnLoader(), [5, 5]),
        (DataLoader(Made(), batch_size=2, shuffle=True), [2, 2]),
        (DataLoader(RANKED, batch_sampler=[[0, 1, 2], [4, 5]]), [3, 2]),
    ],
    ids=["stream", "own loader", "made rows", "own batches"],
)
def test_loaders_of_other_kinds(tiny_model, loader, sizes):
    loss = SeesRows(tiny_model)
    fit(tiny_model, [(loader, loss)], **QUIET)
    assert [size for _, size, _ in loss.seen] == sizes


def test_streams_take_turns_with_other_loaders(tiny_model):
    losses = SeesRows(tiny_model), SeesRows(tiny_model)
    loaders = DataLoader(Stream(), batch_size=3), DataLoader(RANKED, batch_size=5)
    fit(tiny_model, list(zip(loaders, losses, strict=True)), steps_per_epoch=5, **QUIET)
    assert [size for _, size, _ in losses[0].seen] == [3, 3, 3, 1, 3]
    assert [size for _, size, _ in losses[1].seen] == [5] * 5


def test_a_stream_without_a_length_needs_a_number_of_steps(tiny_model):
    loader = DataLoader(Stream(), batch_size=3)
    with pytest.raises(SettingError, match="set steps_per_epoch"):
        fit(tiny_model, [(loader, MultipleNegativesRankingLoss(tiny_model))], **QUIET)


# Evaluation and keeping -------------------------------------------------------------------------


def fit_with(model, evaluator, **options):
    loader = DataLoader(RANKED, batch_size=4)
    fit(
        model,
        [(loader, MultipleNegativesRankingLoss(model))],
        evaluator=evaluator,
        **{**QUIET, "optimizer_params": {"lr": 1e-3}, **options},
    )


def test_the_callback_is_told_score_epoch_and_step(tiny_model):
    told = []
    fit_with(
        tiny_model,
        Scores(0.1, 0.2, 0.3, 0.4),
        epochs=2,
        evaluation_steps=2,
        callback=lambda *values: told.append(values),
    )
    assert [(score, step) for score, _, step in told] == [(0.1, 2), (0.2, 3), (0.3, 4), (0.4, 6)]
    assert [epoch for _, epoch, _ in told] == pytest.approx([2 / 3, 1, 4 / 3, 2])


def test_the_best_model_is_kept(tiny_model, tmp_path):
    kept = []

    def note(score, epoch, step):
        kept.append(weights(tiny_model))

    evaluator = Scores(0.1, 0.5, 0.3)
    fit_with(tiny_model, evaluator, epochs=3, output_path=str(tmp_path), callback=note)
    saved = weights(SentenceTransformer(str(tmp_path), device="cpu"))
    for name, tensor in saved.items():
        torch.testing.assert_close(tensor, kept[1][name], msg=name)
    assert evaluator.paths == [str(tmp_path / "eval")] * 3


def test_the_best_has_the_lowest_score_where_lower_is_better(tiny_model, tmp_path):
    evaluator = Scores(0.5, 0.9)
    evaluator.greater_is_better = False
    at_first = []
    fit_with(
        tiny_model,
        evaluator,
        epochs=2,
        output_path=str(tmp_path),
        callback=lambda *_: at_first.append(weights(tiny_model)),
    )
    saved = weights(SentenceTransformer(str(tmp_path), device="cpu"))
    torch.testing.assert_close(saved, at_first[0])


@pytest.mark.parametrize("evaluator", [None, Scores(0.9, 0.1)])
def test_else_the_last_model_is_kept(tiny_model, tmp_path, evaluator):
    fit_with(tiny_model, evaluator, epochs=2, output_path=str(tmp_path), save_best_model=False)
    saved = weights(SentenceTransformer(str(tmp_path), device="cpu"))
    torch.testing.assert_close(saved, weights(tiny_model))


def test_without_a_folder_nothing_is_written(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit_with(tiny_model, Scores(0.1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("limit", "kept"), [(0, [1, 2, 3, 4]), (2, [3, 4])])
def test_as_many_checkpoints_are_kept_as_asked_for(tiny_model, tmp_path, limit, kept):
    options = {"checkpoint_save_steps": 1, "checkpoint_save_total_limit": limit}
    fit_with(tiny_model, None, steps_per_epoch=4, checkpoint_path=str(tmp_path), **options)
    checkpoints = [f"checkpoint-{n}" for n in kept]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*checkpoints, "run.json"]
    for path in tmp_path.glob("checkpoint-*"):
        assert SentenceTransformer(path).encode("a dog").shape == (32,)


def test_nothing_is_printed_without_a_progress_bar(tiny_model, capsys):
    fit_with(tiny_model, Scores(0.1))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "")


# Optimizer and schedule -------------------------------------------------------------------------


class Rates(torch.optim.SGD):
    """Notes the learning rate of each step, and the groups."""

    seen: list
    groups: list

    def step(self, closure=None):
        type(self).seen.append(self.param_groups[0]["lr"])
        type(self).groups = self.param_groups
        return super().step(closure)


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ("ConstantLR", [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("WarmupConstant", [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]),
        ("WarmupLinear", [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]),
        ("warmupcosine", [0.0, 0.5] + [0.5 * (1 + math.cos(math.pi * k / 4)) for k in range(4)]),
        (
            "WarmupCosineWithHardRestarts",
            [0.0, 0.5] + [0.5 * (1 + math.cos(math.pi * k / 4)) for k in range(4)],
        ),
    ],
)
def test_schedules(tiny_model, scheduler, expected):
    Rates.seen = []
    options = {"scheduler": scheduler, "warmup_steps": 2, "optimizer_params": {"lr": 1e-3}}
    fit_with(tiny_model, None, epochs=2, optimizer_class=Rates, **options)
    assert Rates.seen == pytest.approx([1e-3 * share for share in expected])


def test_an_unknown_schedule_lists_those_there_are(tiny_model):
    with pytest.raises(SettingError, match=r"'warmupcosine'.* got 'steep'"):
        fit_with(tiny_model, None, scheduler="steep")


def test_weights_decay_but_not_biases_and_layer_norms(tiny_model):
    Rates.seen = []
    fit_with(tiny_model, None, optimizer_class=Rates, weight_decay=0.3)
    decay = {id(p): group["weight_decay"] for group in Rates.groups for p in group["params"]}
    for name, parameter in tiny_model.named_parameters():
        is_plain = name.endswith("bias") or "LayerNorm" in name
        assert decay[id(parameter)] == (0.0 if is_plain else 0.3), name


def test_gradients_are_clipped(tiny_model):
    """With plain SGD, no step may be longer than learning rate times the norm allowed."""
    before = weights(tiny_model)
    fit_with(
        tiny_model,
        None,
        steps_per_epoch=1,
        optimizer_class=torch.optim.SGD,
        optimizer_params={"lr": 1.0},
        weight_decay=0,
        max_grad_norm=1e-3,
    )
    moved = sum((weights(tiny_model)[name] - t).square().sum() for name, t in before.items())
    assert moved.sqrt().item() == pytest.approx(1e-3, rel=1e-3)


# What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ([], "must be a list of pairs"),
        (["ab", 3], "must be a list of pairs"),
        ([(DataLoader(RANKED), "loss")], "second of each pair .* must be a loss, got 'loss'"),
        ([(3, torch.nn.Identity())], "object of type 'int' has no len|in place of the DataLoader"),
    ],
)
def test_objectives_must_be_pairs(tiny_model, objectives, message):
    with pytest.raises(SettingError, match=message):
        fit(tiny_model, objectives, steps_per_epoch=1, **QUIET)


def test_other_rows_than_examples_are_refused(tiny_model):
    loader = DataLoader(TensorDataset(torch.zeros(4, 2)), batch_size=2)
    with pytest.raises(DatasetError, match=r"must give InputExamples, got \['tuple'\]"):
        fit(tiny_model, [(loader, MultipleNegativesRankingLoss(tiny_model))], **QUIET)


def test_uneven_examples_are_named(tiny_model):
    uneven = [*RANKED[:2], InputExample(texts=["one"])]

    class Hidden(torch.utils.data.Dataset):  # not a list, so not looked at beforehand
        def __len__(self):
            return 3

        def __getitem__(self, place):
            return uneven[place]

    loader = DataLoader(Hidden(), batch_size=3)
    with pytest.raises(DatasetError, match=r"as many texts each, got \[1, 2\] in rows 0, 1, 2"):
        fit(tiny_model, [(loader, MultipleNegativesRankingLoss(tiny_model))], **QUIET)


def test_examples_that_do_not_fit_the_loss_are_refused_before_the_first_step(tiny_model):
    loader = DataLoader(RANKED, batch_size=4)
    with pytest.raises(DatasetError, match="TripletLoss wants three texts"):
        fit(tiny_model, [(loader, TripletLoss(tiny_model))], **QUIET)


def test_an_empty_loader_is_refused(tiny_model):
    loader = DataLoader(RANKED, batch_size=16, drop_last=True)
    with pytest.raises((DatasetError, SettingError), match="no batch"):
        fit(tiny_model, [(loader, MultipleNegativesRankingLoss(tiny_model))], **QUIET)


@pytest.mark.parametrize("use_amp", [False, True])
def test_half_precision_on_request(tiny_model, use_amp):
    before, computed = weights(tiny_model), set()
    products = tiny_model[0].auto_model.encoder.layer[0].intermediate.dense
    products.register_forward_hook(lambda module, given, result: computed.add(result.dtype))
    fit_with(tiny_model, None, use_amp=use_amp)
    after = weights(tiny_model)
    assert_trained(before, after)
    assert computed == {torch.bfloat16 if use_amp else torch.float32}
    assert all(t.dtype == before[name].dtype for name, t in after.items())


def test_cosine_similarity_through_fit(tiny_model):
    loss = CosineSimilarityLoss(tiny_model)
    features = [tiny_model.read(SCORED[name]) for name in PAIRS]
    before = loss(features, torch.tensor(SCORED["score"])).item()
    loader = DataLoader(SCORES, batch_size=5, shuffle=True)
    fit(tiny_model, [(loader, loss)], epochs=5, optimizer_params={"lr": 1e-3}, **QUIET)
    assert loss(features, torch.tensor(SCORED["score"])).item() < before


@pytest.fixture(autouse=True)
def _rows_fewer_than_a_batch_may_be_warned_of(recwarn):
    yield
    assert not [w for w in recwarn if issubclass(w.category, SentuneWarning)]


def test_a_warm_up_longer_than_the_run_is_told(tiny_model, caplog):
    objectives = [(DataLoader(RANKED, batch_size=5), MultipleNegativesRankingLoss(tiny_model))]
    steps = len(objectives[0][0])
    tiny_model.fit(objectives, show_progress_bar=False)
    assert f"warmup_steps=10000 is not reached in the {steps} steps" in caplog.text
    caplog.clear()
    tiny_model.fit(objectives, show_progress_bar=False, warmup_steps=steps - 1)
    assert "warmup_steps" not in caplog.text
