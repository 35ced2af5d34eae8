"""The trainer: what it trains, logs and evaluates; what it shows to callbacks."""

import pytest
import torch
from datasets import Dataset, DatasetDict, Features, IterableDataset, Value
from transformers import TrainerCallback, TrainingArguments

from sentune.errors import DatasetError, SentuneWarning, SettingError, TrainingError
from sentune.losses import (
    CosineSimilarityLoss,
    MultipleNegativesRankingLoss,
    TripletLoss,
)
from sentune.training.arguments import SentenceTransformerTrainingArguments
from sentune.training.samplers import DefaultBatchSampler
from sentune.training.trainer import SentenceTransformerTrainer
from tests.training.tools import (
    PAIRS,
    SCORED,
    LossOfParts,
    LossWithHead,
    arguments,
    assert_equal_weights,
    assert_trained,
    pairs,
    scored,
    trainer,
    weights,
)


class Sequential(DefaultBatchSampler):
    def __iter__(self):
        n = len(self.dataset)
        for start in range(0, n, self.batch_size):
            yield list(range(start, min(start + self.batch_size, n)))


class Recorder(TrainerCallback):
    """Which rows came, and what the callbacks were shown."""

    def __init__(self):
        self.models = set()
        self.logs = []

    def on_step_end(self, args, state, control, **kwargs):
        self.models.add(type(kwargs["model"]).__name__)

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.logs.append(dict(logs))


class Length:
    """An evaluator that encodes, and says how long the embeddings are."""

    primary_metric = "length"

    def __init__(self):
        self.calls = []

    def __call__(self, model, output_path=None, epoch=-1, steps=-1):
        self.calls.append((output_path, epoch, steps))
        return {"length": float(abs(model.encode(["a dog"])).sum())}


def rows_seen(run):
    """The rows of each step, by watching what goes into the loss."""
    seen = []
    whole = run.step.forward

    def forward(columns, labels=None, dataset_name=None, rows=None):
        seen.append((dataset_name, rows.tolist()))
        return whole(columns, labels, dataset_name, rows)

    run.step.forward = forward
    return seen


# Training ---------------------------------------------------------------------------------------


def test_the_loss_falls_and_the_model_is_trained_in_place(tiny_model, tmp_path):
    before = weights(tiny_model)
    run = trainer(tiny_model, tmp_path, num_train_epochs=8)
    run.train()
    losses = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
    assert_trained(before, weights(tiny_model))
    assert run.model is tiny_model


def test_a_step_is_the_gradient_of_the_loss(tiny_model, tmp_path):
    """One step of plain SGD against the same step written out."""
    tiny_model.eval()
    run = trainer(
        tiny_model,
        tmp_path,
        optim="sgd",
        lr_scheduler_type="constant",
        max_grad_norm=0,
        batch_sampler=Sequential,
        per_device_train_batch_size=10,
    )
    loss = MultipleNegativesRankingLoss(tiny_model)
    features = [tiny_model.read(PAIRS[name]) for name in ("anchor", "positive")]
    loss(features).backward()
    expected = {
        name: parameter.detach() - 1e-3 * parameter.grad
        for name, parameter in tiny_model.named_parameters()
        if parameter.grad is not None
    }
    tiny_model.zero_grad()
    run.train()
    own = dict(tiny_model.named_parameters())
    assert len(expected) > 30
    for name, value in expected.items():
        torch.testing.assert_close(own[name].detach(), value, rtol=1e-5, atol=1e-7)


def test_rows_come_with_their_numbers_in_the_samplers_order(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, batch_sampler=Sequential)
    seen = rows_seen(run)
    run.train()
    assert seen == [(None, [0, 1, 2, 3]), (None, [4, 5, 6, 7]), (None, [8, 9])]


def test_transformers_may_lack_a_context_for_worker_processes(tiny_model, tmp_path, monkeypatch):
    run = trainer(tiny_model, tmp_path)
    name = "dataloader_multiprocessing_context"  # not in transformers 5.14
    vars(run.args).pop(name, None)
    monkeypatch.delattr(TrainingArguments, name, raising=False)
    assert not hasattr(run.args, name)
    assert len(list(run.get_train_dataloader())) == 3


def test_the_default_order_is_that_of_the_seed(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, num_train_epochs=2)
    seen = rows_seen(run)
    run.train()
    orders = [
        torch.randperm(10, generator=torch.Generator().manual_seed(7 + epoch)).tolist()
        for epoch in range(2)
    ]
    assert [row for _, rows in seen for row in rows] == orders[0] + orders[1]


def test_gradients_are_averaged_over_accumulated_batches(tiny_model, tmp_path):
    """With a loss that is a mean over rows, two batches of 5 are a batch of 10."""
    options = {"optim": "sgd", "max_grad_norm": 0, "batch_sampler": Sequential}
    start = weights(tiny_model)
    whole = trainer(
        tiny_model,
        tmp_path,
        scored(),
        CosineSimilarityLoss(tiny_model),
        per_device_train_batch_size=10,
        **options,
    )
    whole.train()
    expected = weights(tiny_model)
    tiny_model.load_state_dict(start)
    halves = trainer(
        tiny_model,
        tmp_path,
        scored(),
        CosineSimilarityLoss(tiny_model),
        per_device_train_batch_size=5,
        gradient_accumulation_steps=2,
        **options,
    )
    halves.train()
    assert halves.state.global_step == whole.state.global_step == 1
    for name, tensor in weights(tiny_model).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)


def test_a_loss_as_a_class_or_function_is_made_for_the_model(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, loss=MultipleNegativesRankingLoss)
    assert isinstance(run.loss, MultipleNegativesRankingLoss)
    assert run.loss.model is tiny_model
    run = trainer(tiny_model, tmp_path, loss=lambda model: LossWithHead(model), dataset=scored())
    assert isinstance(run.loss, LossWithHead)


def test_a_loss_of_another_model_is_refused(tiny_model, tmp_path):
    other = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with pytest.raises(SettingError, match="made with another model"):
        trainer(tiny_model, tmp_path, loss=MultipleNegativesRankingLoss(other))


def test_a_model_from_model_init_is_trained_with_a_loss_of_its_own(tiny_model, tmp_path):
    run = SentenceTransformerTrainer(
        model_init=lambda: tiny_model,
        args=arguments(tmp_path),
        train_dataset=pairs(),
        loss=MultipleNegativesRankingLoss,
    )
    before = weights(tiny_model)
    run.train()
    assert run.step.model is run.model is tiny_model
    assert_trained(before, weights(tiny_model))


def test_without_args_the_defaults_are_used(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = SentenceTransformerTrainer(
        tiny_model, train_dataset=pairs(), loss=MultipleNegativesRankingLoss
    )
    assert run.args.output_dir == "tmp_trainer"
    assert run.args.num_train_epochs == 3


# Weights of the loss ----------------------------------------------------------------------------


def test_weights_of_the_loss_are_trained(tiny_model, tmp_path):
    loss = LossWithHead(tiny_model)
    before = weights(loss.head)
    run = trainer(tiny_model, tmp_path, scored(), loss)
    run.train()
    assert_trained(before, weights(loss.head))
    assert set(run.step.own_weights()) == {"loss.head.weight", "loss.head.bias", "loss.seen"}


def test_every_parameter_is_in_the_optimizer_once(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, scored(), LossWithHead(tiny_model))
    groups = run.create_optimizer().param_groups
    ids = [id(parameter) for group in groups for parameter in group["params"]]
    expected = [*tiny_model.parameters(), *run.loss.head.parameters()]
    assert sorted(ids) == sorted(map(id, expected))


def test_learning_rates_of_their_own(tiny_model, tmp_path):
    run = trainer(
        tiny_model,
        tmp_path,
        scored(),
        LossWithHead(tiny_model),
        learning_rate_mapping={r"auto_model\.encoder": 0.5, r"layer\.0\.": 0.25, "head": 0.125},
        weight_decay=0.01,
    )
    rates = {}
    for group in run.create_optimizer().param_groups:
        for parameter in group["params"]:
            rates[id(parameter)] = (group["lr"], group["weight_decay"])
    named = dict(run.step.named_parameters())
    first = "model.0.model.encoder.layer.0.output.dense"
    assert rates[id(named[f"{first}.weight"])] == (0.25, 0.01)
    assert rates[id(named[f"{first}.bias"])] == (0.25, 0.0)
    assert rates[id(named[f"{first.replace('.0.output', '.1.output')}.bias"])] == (0.5, 0.0)
    assert rates[id(run.loss.head.weight)] == (0.125, 0.01)
    embeddings = "model.0.model.embeddings.word_embeddings.weight"
    assert rates[id(named[embeddings])] == (1e-3, 0.01)
    assert len(rates) == len(named)


def test_a_pattern_that_matches_nothing_is_refused(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, learning_rate_mapping={"pooler$": 0.1})
    with pytest.raises(SettingError, match=r"no trained parameter .* 'pooler\$' .* begin with"):
        run.train()


def test_learning_rates_do_not_go_with_a_given_optimizer(tiny_model, tmp_path):
    optimizer = torch.optim.SGD(tiny_model.parameters(), lr=0.1)
    run = SentenceTransformerTrainer(
        tiny_model,
        arguments(tmp_path, learning_rate_mapping={"encoder": 0.1}),
        pairs(),
        loss=MultipleNegativesRankingLoss,
        optimizers=(optimizer, None),
    )
    with pytest.raises(SettingError, match="no say over an optimizer that was given"):
        run.train()


# Several datasets -------------------------------------------------------------------------------


def two_datasets():
    triplets = {**PAIRS, "negative": [text.upper() for text in PAIRS["anchor"]]}
    return DatasetDict({"sts": scored(), "train.triplets": Dataset.from_dict(triplets)})


def test_each_dataset_has_its_loss(tiny_model, tmp_path):
    losses = {"sts": LossWithHead(tiny_model), "train.triplets": TripletLoss(tiny_model)}
    before = weights(losses["sts"].head)
    run = trainer(
        tiny_model,
        tmp_path,
        two_datasets(),
        losses,
        multi_dataset_batch_sampler="round_robin",
        batch_sampler=Sequential,
    )
    seen = rows_seen(run)
    run.train()
    assert seen[:4] == [
        ("sts", [0, 1, 2, 3]),
        ("train.triplets", [0, 1, 2, 3]),
        ("sts", [4, 5, 6, 7]),
        ("train.triplets", [4, 5, 6, 7]),
    ]
    assert len(seen) == 6
    assert run.loss == losses
    assert_trained(before, weights(losses["sts"].head))


def test_datasets_can_share_a_loss(tiny_model, tmp_path):
    data = {"one": pairs(), "two": pairs()}
    run = trainer(tiny_model, tmp_path, data, MultipleNegativesRankingLoss)
    seen = rows_seen(run)
    run.train()
    assert sorted(name for name, _ in seen) == ["one"] * 3 + ["two"] * 3


def test_losses_and_datasets_must_have_the_same_names(tiny_model, tmp_path):
    losses = {"sts": CosineSimilarityLoss(tiny_model)}
    with pytest.raises(SettingError, match=r"train_dataset must be a dict .*'train.triplets'"):
        trainer(tiny_model, tmp_path, two_datasets(), losses)
    with pytest.raises(SettingError, match="train_dataset must be a dict .*Dataset"):
        trainer(tiny_model, tmp_path, scored(), losses)


def test_prompts_per_dataset_need_datasets_with_names(tiny_model, tmp_path):
    with pytest.raises(SettingError, match="prompts say what to do per dataset and column"):
        trainer(tiny_model, tmp_path, prompts={"sts": {"anchor": "query: "}})


@pytest.mark.parametrize("given", ["train", "dict", "eval", "both dicts"])
def test_one_prompt_is_put_before_the_texts_of_all_columns(given, tiny_model, tmp_path):
    several = {"one": pairs(), "two": pairs()}
    train = {"train": pairs(), "eval": None}.get(given, several)
    held_out = {"eval": pairs(), "both dicts": several}.get(given)
    run = SentenceTransformerTrainer(
        tiny_model,
        arguments(tmp_path, prompts="query: "),
        train,
        held_out,
        MultipleNegativesRankingLoss(tiny_model),
    )
    loader = run.get_eval_dataloader() if train is None else run.get_train_dataloader()
    columns = next(iter(loader))["columns"]
    for features in columns.values():
        with_prompt = tiny_model.read(["cat"], prompt="query: ")["input_ids"][:3]
        assert features["input_ids"][:3].tolist() == with_prompt.tolist()


def test_prompts_are_put_before_the_texts(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, prompts={"anchor": "query "}, batch_sampler=Sequential)
    batch = next(iter(run.get_train_dataloader()))
    plain = tiny_model.read(PAIRS["anchor"][:4])["lengths"]
    assert batch["columns"]["anchor"]["lengths"] == [length + 1 for length in plain]
    assert (
        batch["columns"]["positive"]["lengths"] == tiny_model.read(PAIRS["positive"][:4])["lengths"]
    )


# Set after the trainer was made -------------------------------------------------------------------


def test_the_batch_size_may_be_set_later(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path)
    run.args.per_device_train_batch_size = 2
    run.train()
    assert run.state.global_step == run.state.max_steps == 5


def test_the_arguments_may_have_a_batch_size_of_their_own(tiny_model, tmp_path):
    class Own(SentenceTransformerTrainingArguments):
        @property
        def train_batch_size(self):
            return 5

    args = Own(str(tmp_path), num_train_epochs=1, save_strategy="no", use_cpu=True)
    loss = MultipleNegativesRankingLoss(tiny_model)
    run = SentenceTransformerTrainer(tiny_model, args, pairs(), loss=loss)
    run.train()
    assert run.state.global_step == 2


@pytest.mark.parametrize("runs_before", [0, 1])
def test_a_loss_that_is_set_is_trained_as_one_that_is_given(runs_before, tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, scored(), CosineSimilarityLoss(tiny_model))
    for _ in range(runs_before):
        run.train()
    start = weights(tiny_model)
    torch.manual_seed(0)
    loss = LossWithHead(tiny_model)
    run.loss, before = loss, weights(loss.head)
    run.train()
    assert run.loss is loss
    assert_trained(before, weights(loss.head))
    found = weights(tiny_model)
    tiny_model.load_state_dict(start)
    torch.manual_seed(0)
    trainer(tiny_model, tmp_path, scored(), LossWithHead(tiny_model)).train()
    assert_equal_weights(weights(tiny_model), found)


def test_data_and_losses_that_are_set_are_checked_before_the_first_step(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, scored(), CosineSimilarityLoss(tiny_model))
    rows = [{"a": f"one {n}", "b": f"two {n}", "c": f"three {n}"} for n in "abcdefgh"]
    run.train_dataset = rows
    run.loss = TripletLoss(tiny_model)  # fits only together with these rows
    run.train()
    run.loss = lambda model: CosineSimilarityLoss(model)
    with pytest.raises(DatasetError, match="CosineSimilarityLoss wants"):
        run.train()
    run.loss = {"one": TripletLoss(tiny_model)}
    with pytest.raises(SettingError, match="train_dataset must be a dict of datasets"):
        run.train()


class Peer:
    """A collator that takes every key for a column and gives each feature a name of its own."""

    def __init__(self, model):
        self.model = model

    def __call__(self, rows):
        batch = {"label": torch.tensor([row.pop("score") for row in rows])}
        for column in [name for name in rows[0] if name != "dataset_name"]:
            texts = [row[column] for row in rows]
            features = self.model.preprocess(texts, prompt=None, task=None)
            batch |= {f"{column}_{name}": value for name, value in features.items()}
        if "dataset_name" in rows[0]:
            batch["dataset_name"] = rows[0]["dataset_name"]
        return batch


@pytest.mark.parametrize("several", [False, True])
def test_a_collator_may_name_each_feature_of_each_column(several, tiny_model, tmp_path):
    data = {"one": scored(), "two": scored()} if several else scored()
    found = []
    start = weights(tiny_model)
    for collator in (None, Peer(tiny_model)):
        tiny_model.load_state_dict(start)
        losses = {name: CosineSimilarityLoss(tiny_model) for name in ("one", "two")}
        loss = losses if several else losses["one"]
        run = SentenceTransformerTrainer(
            tiny_model, arguments(tmp_path), data, data, loss, data_collator=collator
        )
        run.train()
        metrics = run.evaluate()
        found.append({name: m for name, m in metrics.items() if name.endswith("loss")})
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    assert len(found[0]) == 1 + several


# Streams ----------------------------------------------------------------------------------------


def stream():
    features = Features({name: Value("string") for name in PAIRS})
    rows = [dict(zip(PAIRS, cells, strict=True)) for cells in zip(*PAIRS.values(), strict=True)]
    return IterableDataset.from_generator(lambda: iter(rows), features=features)


def test_a_stream_is_read_in_its_order(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, stream(), max_steps=3)
    seen = rows_seen(run)
    run.train()
    assert seen == [(None, [0, 1, 2, 3]), (None, [4, 5, 6, 7]), (None, [8, 9])]


def test_a_stream_begins_again_at_its_end(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, stream(), max_steps=5)
    run.train()
    assert run.state.global_step == 5


def test_a_stream_to_evaluate_on_needs_no_sampler(tiny_model, tmp_path):
    options = {"batch_sampler": "no_duplicates", "eval_strategy": "epoch"}
    run = trainer(tiny_model, tmp_path, pairs(), eval_dataset=stream(), **options)
    run.train()
    assert any("eval_loss" in entry for entry in run.state.log_history)


def test_a_sampler_cannot_be_had_for_a_stream(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, stream(), max_steps=3, batch_sampler="no_duplicates")
    with pytest.raises(SettingError, match="batch_sampler needs a dataset with a length"):
        run.train()


# Evaluation -------------------------------------------------------------------------------------


def test_the_loss_on_held_out_rows_is_that_of_the_loss(tiny_model, tmp_path):
    run = trainer(
        tiny_model,
        tmp_path,
        scored(),
        CosineSimilarityLoss(tiny_model),
        eval_dataset=scored(),
        per_device_eval_batch_size=10,
    )
    features = [tiny_model.read(SCORED[name]) for name in ("anchor", "positive")]
    expected = run.loss(features, torch.tensor(SCORED["score"])).item()
    assert run.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-6)


def test_several_held_out_datasets_have_their_own_names(tiny_model, tmp_path):
    losses = {
        "sts": CosineSimilarityLoss(tiny_model),
        "train.triplets": TripletLoss(tiny_model),
    }
    evaluator = Length()
    run = trainer(
        tiny_model,
        tmp_path,
        two_datasets(),
        losses,
        eval_dataset=two_datasets(),
        evaluator=evaluator,
    )
    metrics = run.evaluate()
    assert {"eval_sts_loss", "eval_train.triplets_loss", "eval_length"} <= set(metrics)
    assert len(evaluator.calls) == 1
    assert run.evaluate(eval_dataset="sts").keys() >= {"eval_loss", "eval_length"}


def test_evaluation_leaves_the_weights_alone(tiny_model, tmp_path):
    before = weights(tiny_model)
    trainer(tiny_model, tmp_path, eval_dataset=pairs()).evaluate()
    assert_equal_weights(before, weights(tiny_model))


def test_an_evaluator_is_run_when_the_arguments_say(tiny_model, tmp_path):
    evaluator = Length()
    run = trainer(
        tiny_model, tmp_path, evaluator=evaluator, eval_strategy="steps", eval_steps=2, max_steps=5
    )
    run.train()
    folder = str(tmp_path / "eval")  # transformers evaluates after the last step too
    assert [path for path, _, _ in evaluator.calls] == [folder] * 3
    assert [step for _, _, step in evaluator.calls] == [2, 4, 5]
    assert [epoch for _, epoch, _ in evaluator.calls] == pytest.approx([2 / 3, 4 / 3, 5 / 3])
    logged = [entry for entry in run.state.log_history if "eval_length" in entry]
    assert [entry["step"] for entry in logged] == [2, 4, 5]


def test_a_list_of_evaluators_and_one_that_gives_a_number(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, evaluator=[Length(), lambda model, **_: 0.25])
    metrics = run.evaluate()
    assert metrics["eval_evaluator_1"] == metrics["eval_sequential_score"] == 0.25
    assert metrics["eval_length"] > 0
    assert run.eval_dataset is None


def test_evaluation_needs_something_to_evaluate(tiny_model, tmp_path):
    with pytest.raises(SettingError, match="there is no eval_dataset and no evaluator"):
        trainer(tiny_model, tmp_path).evaluate()


def test_compute_metrics_is_told_off(tiny_model, tmp_path):
    with pytest.warns(SentuneWarning, match="compute_metrics is not used; give an evaluator"):
        SentenceTransformerTrainer(
            tiny_model,
            arguments(tmp_path),
            pairs(),
            loss=MultipleNegativesRankingLoss,
            compute_metrics=lambda prediction: {},
        )


# What is logged and shown -----------------------------------------------------------------------


def test_parts_of_a_loss_are_summed_and_logged_one_by_one(tiny_model, tmp_path):
    recorder = Recorder()
    run = trainer(
        tiny_model,
        tmp_path,
        loss=LossOfParts(tiny_model),
        callbacks=[recorder],
        eval_dataset=pairs(),
        eval_strategy="epoch",
    )
    run.train()
    steps = [entry for entry in recorder.logs if "loss" in entry]
    assert len(steps) == 3
    for entry in steps:
        assert entry["loss"] == pytest.approx(entry["ranking"] + entry["size"], rel=1e-5)
    (held_out,) = [entry for entry in recorder.logs if "eval_loss" in entry]
    assert {"eval_ranking", "eval_size"} <= set(held_out)


def test_parts_are_means_over_the_steps_between_two_logs(tiny_model, tmp_path):
    recorder = Recorder()
    options = {"logging_steps": 3, "learning_rate": 0.0, "batch_sampler": Sequential}
    trainer(tiny_model, tmp_path, loss=LossOfParts, callbacks=[recorder], **options).train()
    loss = LossOfParts(tiny_model)
    expected = []
    for start in (0, 4, 8):
        texts = [PAIRS[name][start : start + 4] for name in PAIRS]
        expected.append(loss([tiny_model.read(column) for column in texts])["size"].item())
    assert recorder.logs[0]["size"] == pytest.approx(sum(expected) / 3, rel=1e-5)


def test_callbacks_are_shown_the_model_and_not_the_step(tiny_model, tmp_path):
    recorder = Recorder()
    trainer(tiny_model, tmp_path, callbacks=[recorder]).train()
    assert recorder.models == {"SentenceTransformer"}


def test_the_configuration_of_the_encoder_stays_as_it_was(tiny_model, tmp_path):
    tiny_model.config.use_cache = True
    trainer(tiny_model, tmp_path)
    assert tiny_model.config.use_cache is True


# What goes wrong --------------------------------------------------------------------------------


class TurnsNaN(CosineSimilarityLoss):
    def compute(self, columns, labels=None, **context):
        value = super().compute(columns, labels)
        return value + float("nan") if 0.5 in labels else value


def test_a_loss_that_turns_nan_stops_the_run_and_names_the_rows(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, scored(), TurnsNaN(tiny_model), batch_sampler=Sequential)
    with pytest.raises(TrainingError, match=r"NaN in step 2, on a batch of rows 4, 5, 6, 7\. Look"):
        run.train()
    assert run.state.global_step == 1


def test_a_nan_names_the_dataset_among_several(tiny_model, tmp_path):
    losses = {"fine": CosineSimilarityLoss(tiny_model), "bad": TurnsNaN(tiny_model)}
    data = {"fine": scored(), "bad": scored()}
    run = trainer(tiny_model, tmp_path, data, losses, batch_sampler=Sequential)
    with pytest.raises(TrainingError, match="of rows 4, 5, 6, 7 of dataset 'bad'"):
        run.train()


def test_a_dataset_that_does_not_fit_the_loss_is_refused_before_the_first_step(
    tiny_model, tmp_path
):
    with pytest.raises(DatasetError, match="TripletLoss wants three texts"):
        trainer(tiny_model, tmp_path, pairs(), TripletLoss(tiny_model))
    with pytest.raises(DatasetError, match="TripletLoss wants three texts"):
        triplets = two_datasets()["train.triplets"]
        trainer(tiny_model, tmp_path, triplets, TripletLoss(tiny_model), eval_dataset=pairs())


@pytest.mark.parametrize("both", [True, False])
def test_either_a_model_or_a_function_that_makes_one(both, tiny_model, tmp_path):
    options = {"model": tiny_model, "model_init": lambda: tiny_model} if both else {}
    with pytest.raises(SettingError, match="either model or model_init"):
        SentenceTransformerTrainer(args=arguments(tmp_path), train_dataset=pairs(), **options)


def test_what_is_no_loss_is_refused(tiny_model, tmp_path):
    with pytest.raises(SettingError, match="must be one of sentune.losses .*, got 'CoSENTLoss'"):
        trainer(tiny_model, tmp_path, scored(), "CoSENTLoss")


def test_arguments_of_another_kind_are_refused(tiny_model, tmp_path):
    with pytest.raises(SettingError, match="must be SentenceTransformerTrainingArguments"):
        SentenceTransformerTrainer(tiny_model, TrainingArguments(str(tmp_path)), pairs())


def test_training_needs_a_dataset(tiny_model, tmp_path):
    run = SentenceTransformerTrainer(
        tiny_model, arguments(tmp_path), loss=MultipleNegativesRankingLoss
    )
    with pytest.raises(SettingError, match="there is no train_dataset"):
        run.train()


# What transformers' arguments do ----------------------------------------------------------------


def trained_with(model, folder, **options):
    start = weights(model)
    trainer(model, folder, max_steps=2, **options).train()
    after = weights(model)
    model.load_state_dict(start)
    assert_trained(start, after)
    return after


@pytest.mark.parametrize(
    "options",
    [
        {"activation_checkpointing": True},
        {"gradient_checkpointing": True},
        {"dataloader_num_workers": 1, "dataloader_persistent_workers": True},
        {"auto_find_batch_size": True},
    ],
    ids=str,
)
def test_what_saves_memory_or_time_changes_no_weights(tiny_model, tmp_path, options):
    expected = trained_with(tiny_model, tmp_path)
    for name, tensor in trained_with(tiny_model, tmp_path, **options).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"bf16": True}, {"neftune_noise_alpha": 5.0}, {"optim": "adafactor"}],
    ids=str,
)
def test_other_ways_to_train(tiny_model, tmp_path, options):
    after = trained_with(tiny_model, tmp_path, **options)
    assert all(tensor.dtype != torch.bfloat16 for tensor in after.values())


def test_checkpointing_of_activations_reaches_the_encoder(tiny_model, tmp_path):
    trainer(tiny_model, tmp_path, max_steps=1, activation_checkpointing=True).train()
    assert tiny_model.transformers_model.is_gradient_checkpointing


def test_tokens_are_counted(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, include_num_input_tokens_seen="all")
    run.train()
    lengths = [tiny_model.read(PAIRS[name])["lengths"] for name in PAIRS]
    assert run.state.num_input_tokens_seen == sum(map(sum, lengths))


def test_the_padding_that_is_saved_is_logged(tiny_model, tmp_path):
    size = len(PAIRS["anchor"])
    options = {"include_num_input_tokens_seen": True, "logging_steps": 1, "max_steps": 1}
    run = trainer(tiny_model, tmp_path, per_device_train_batch_size=size, **options)
    run.train()
    lengths = [tiny_model.read(PAIRS[name])["lengths"] for name in PAIRS]
    slots = sum(len(column) * max(column) for column in lengths)
    saved = 1 - sum(map(sum, lengths)) / slots
    assert run.state.log_history[0]["padding_saved"] == pytest.approx(saved) != 0
