"""Which metric says what model is best: what names it may have, evaluators of all kinds, NaN."""

import math

import pytest
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback

from sentune.data.example import InputExample
from sentune.errors import SettingError
from sentune.evaluation import EmbeddingSimilarityEvaluator
from sentune.losses import MultipleNegativesRankingLoss
from sentune.training.fit import fit
from tests.training.test_preflight import warned
from tests.training.tools import PAIRS, pairs, trainer

KEEPS = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
NAN = float("nan")


def similarity(name, main="cosine"):
    scores = [n / 10 for n in range(10)]
    found = EmbeddingSimilarityEvaluator(*PAIRS.values(), scores, name=name)
    found.primary_metric = main and f"spearman_{main}"  # by itself it knows after a call
    return found


class Given:
    """Gives the numbers one after the other, under a name."""

    def __init__(self, *values, name="mine"):
        self.values, self.name_of_metric = list(values), name

    def __call__(self, model, output_path=None, epoch=-1, steps=-1):
        value = self.values.pop(0)
        return value if self.name_of_metric is None else {self.name_of_metric: value}


def run_of(model, folder, metric=None, **options):
    return trainer(model, folder, metric_for_best_model=metric, **{**KEEPS, **options})


@pytest.mark.parametrize(
    ("evaluators", "metric", "names"),
    [
        (None, "x", "eval_one_loss, eval_two_loss"),
        (None, None, "eval_one_loss, eval_two_loss"),
        ([similarity("dev"), similarity("more")], "spearman_cosine", "eval_dev_spearman_cosine"),
        ([similarity("dev")], "loss", "eval_dev_spearman_cosine, eval_sequential_score"),
        (similarity("dev"), None, "eval_dev_spearman_cosine"),
        (similarity("dev", main=None), None, "eval_dev_..."),
    ],
)
def test_a_metric_that_there_will_not_be_is_refused_before_the_first_step(
    evaluators, metric, names, tiny_model, tmp_path
):
    data = None if evaluators else {"one": pairs(), "two": pairs()}
    run = run_of(tiny_model, tmp_path, metric, eval_dataset=data, evaluator=evaluators)
    with pytest.raises(SettingError, match=f"this run: {names}.*; set metric_for_best_model='eval"):
        run.train()
    assert run.state.global_step == 0


@pytest.mark.parametrize(
    ("metric", "full"),
    [
        ("spearman_cosine", "eval_dev_spearman_cosine"),
        ("pearson_cosine", "eval_dev_pearson_cosine"),  # known only when it was measured
        ("dev_spearman_cosine", "eval_dev_spearman_cosine"),
        ("one_loss", "eval_one_loss"),
        ("loss", "eval_one_loss"),
    ],
)
def test_a_metric_may_be_named_in_short(metric, full, tiny_model, tmp_path):
    data = {"one": pairs()}
    run = run_of(tiny_model, tmp_path, metric, eval_dataset=data, evaluator=similarity("dev"))
    run.train()
    (measured,) = [entry[full] for entry in run.state.log_history if full in entry]
    assert run.state.best_metric == measured


def test_the_score_of_a_list_is_that_of_the_last_and_can_decide(tiny_model, tmp_path):
    evaluators = [similarity("a"), similarity("b")]
    run = run_of(tiny_model, tmp_path, "eval_sequential_score", evaluator=evaluators)
    run.train()
    (entry,) = [one for one in run.state.log_history if "eval_sequential_score" in one]
    assert run.state.best_metric == entry["eval_b_spearman_cosine"]


@pytest.mark.parametrize("name", ["mine", None])
def test_a_custom_evaluator_decides_by_what_it_gives(name, tiny_model, tmp_path):
    evaluator = Given(0.1, 0.3, 0.2, name=name)
    options = {"evaluator": evaluator, "num_train_epochs": 3}
    run = run_of(tiny_model, tmp_path, name or "evaluator", **options)
    run.train()
    assert (run.state.best_metric, run.state.best_global_step) == (0.3, 6)


def test_a_metric_that_no_evaluator_gave_is_named_with_those_there_are(tiny_model, tmp_path):
    run = run_of(tiny_model, tmp_path, "acc", evaluator=Given(0.1))
    with pytest.raises(SettingError, match="this run: eval_mine;"):
        run.train()


@pytest.mark.parametrize("strategy", ["epoch", "best"])
def test_nan_counts_as_worst(strategy, tiny_model, tmp_path):
    options = {"evaluator": Given(NAN, 0.1, NAN), "num_train_epochs": 3}
    run = run_of(tiny_model, tmp_path, "mine", save_strategy=strategy, **options)
    texts = warned(run.train)
    assert texts == [f"eval_mine is NaN at step {n}; it counts as worst" for n in (3, 9)]
    assert (run.state.best_metric, run.state.best_global_step) == (0.1, 6)
    assert run.state.best_model_checkpoint.endswith("checkpoint-6")


@pytest.mark.parametrize("strategy", ["epoch", "best"])
def test_where_all_is_nan_the_last_checkpoint_stays(strategy, tiny_model, tmp_path):
    options = {"evaluator": Given(NAN, NAN), "num_train_epochs": 2, "save_total_limit": 1}
    run = run_of(tiny_model, tmp_path, "mine", save_strategy=strategy, **options)
    assert warned(run.train)[-1].startswith("eval_mine was NaN in every evaluation")
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-6"]


def test_training_stops_early_on_nan(tiny_model, tmp_path):
    options = {"evaluator": Given(0.1, NAN, NAN, NAN), "num_train_epochs": 4}
    stop = [EarlyStoppingCallback(early_stopping_patience=2)]
    run = run_of(tiny_model, tmp_path, "mine", callbacks=stop, **options)
    assert len(warned(run.train)) == 2
    assert run.state.global_step == 9


def fitted(model, evaluator, folder=None, epochs=1, callback=None):
    rows = [InputExample(texts=list(texts)) for texts in zip(*PAIRS.values(), strict=True)]
    objective = (DataLoader(rows, batch_size=5), MultipleNegativesRankingLoss(model))
    options = {"warmup_steps": 0, "show_progress_bar": False, "callback": callback}
    fit(model, [objective], evaluator, epochs, output_path=folder, **options)


@pytest.mark.parametrize(
    ("evaluator", "score"),
    [
        ([Given(0.1), Given(0.7, name="b")], 0.7),
        ([Given(0.1), Given(0.7, name=None)], 0.7),
        (Given(0.4), 0.4),
        (Given(0.4, name=None), 0.4),
    ],
)
def test_fit_takes_the_score_of_any_evaluator(evaluator, score, tiny_model, tmp_path):
    told = []
    fitted(tiny_model, evaluator, str(tmp_path), callback=lambda *given: told.append(given[0]))
    assert told == [score]
    assert (tmp_path / "modules.json").exists()


@pytest.mark.parametrize(("scores", "kept"), [((NAN, 0.1), 4), ((0.1, NAN), 2), ((NAN, NAN), 4)])
def test_nan_counts_as_worst_in_fit(scores, kept, tiny_model, tmp_path):
    texts = warned(lambda: fitted(tiny_model, Given(*scores), str(tmp_path), epochs=2))
    assert "score is NaN at step" in texts[0]
    assert texts[-1].startswith("every score") == all(map(math.isnan, scores))
    assert f'"saved_step": {kept}' in (tmp_path / "run.json").read_text()


def test_what_is_no_evaluator_is_refused(tiny_model, tmp_path):
    with pytest.raises(SettingError, match="an evaluator or a list of them, got .'str'"):
        trainer(tiny_model, tmp_path, evaluator=["dev"])
    with pytest.raises(SettingError, match="an evaluator or a list of them"):
        fitted(tiny_model, [1])
