"""The parts of training without choosing, each by itself."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from datasets import Dataset

from sentune import SentenceTransformer
from sentune.data import forms
from sentune.errors import DatasetError, ModelFileError, SettingError
from sentune.losses.fitting import public_losses
from sentune.workbench.measuring import general
from sentune.workbench.measuring.by_form import measure_for
from sentune.workbench.measuring.encoded import Encoded
from sentune.workbench.measuring.measure import Values, gain
from sentune.workbench.racing import decision, mixing
from sentune.workbench.racing.candidates import CANDIDATES, Candidate, candidates
from sentune.workbench.racing.decision import Mix
from sentune.workbench.racing.race import Entry, first_as_good
from sentune.workbench.records import run_file
from sentune.workbench.rows import forms_turned
from sentune.workbench.rows.forms_turned import AS_IT_IS, TURNS
from sentune.workbench.settings import OF_A_CANDIDATE, Settings, seconds_or_passes
from tests import tiny
from tests.workbench import topics


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.make_folder(tmp_path_factory.mktemp("parts") / "bert")


@pytest.fixture(scope="module")
def model(folder):
    return SentenceTransformer(str(folder))


# Candidates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CANDIDATES)
def test_each_loss_of_the_table_reads_what_its_turn_makes(name):
    form = next(one for one in forms.FORMS if one.name == name)
    for one in CANDIDATES[name]:
        after = forms_turned.form_after(one.data_as, form)
        wanted = public_losses()[one.loss].forms
        is_score = after is forms.PAIR_AND_MATCH and forms.PAIR_AND_SCORE in wanted
        assert after in wanted or is_score, one.name
        assert one.data_as == AS_IT_IS or TURNS[one.data_as].before is form
        assert Candidate.of(one.settings) == one


def test_the_table_has_no_loss_that_makes_models_worse():
    assert not any("BatchAll" in one.loss for row in CANDIDATES.values() for one in row)


def test_all_of_a_candidate_but_its_steps_may_be_fixed():
    assert {one.name for one in fields(Candidate)} - {*OF_A_CANDIDATE} == {"steps", "also"}


def test_what_is_fixed_is_fixed_in_all_and_doubles_are_gone():
    found = candidates(forms.TEXT_AND_CLASS, {"learning_rate": 1e-4, "batch_size": 8})
    assert {one.learning_rate for one in found} == {1e-4}
    assert {one.batch_size for one in found} == {8}
    assert len(found) == 2  # the two rates of SupervisedContrastiveLoss became one
    (one,) = candidates(
        forms.TEXT_AND_CLASS,
        {
            "loss": "SupervisedContrastiveLoss",
            "learning_rate": 1e-4,
            "loss_settings": {"temperature": 0.2},
        },
    )
    assert one.loss_settings == {"temperature": 0.2}


def test_a_loss_outside_of_the_table_is_tried_on_what_it_reads():
    found = candidates(forms.PAIR_AND_SCORE, {"loss": "CoSENTLoss"})
    assert [one.learning_rate for one in found] == [5e-5, 2e-5]
    assert {one.data_as for one in found} == {AS_IT_IS}
    turned = candidates(forms.PAIR_AND_MATCH, {"loss": "MegaBatchMarginLoss"})
    assert {one.data_as for one in turned} == {forms_turned.MATCHES}
    with pytest.raises(SettingError, match="cannot learn from the form"):
        candidates(forms.TEXT_AND_CLASS, {"loss": "TripletLoss"})
    with pytest.raises(SettingError, match="did you mean pairs of a class"):
        candidates(forms.TEXT_AND_CLASS, {"data_as": "pairs of class"})


# Data in another form -----------------------------------------------------------------------------


def test_pairs_of_a_class_are_of_a_class(model):
    data = topics.classes(120)
    label = dict(zip(data["text"], data["label"]))
    made = forms_turned.turned(forms_turned.PAIRS_OF_A_CLASS, Dataset.from_dict(data), model, 1)
    assert len(made) > 100
    for anchor, positive in zip(made["anchor"], made["positive"]):
        assert label[anchor] == label[positive] and anchor != positive
    again = forms_turned.turned(forms_turned.PAIRS_OF_A_CLASS, Dataset.from_dict(data), model, 1)
    other = forms_turned.turned(forms_turned.PAIRS_OF_A_CLASS, Dataset.from_dict(data), model, 2)
    assert again["positive"] == made["positive"] != other["positive"]


NLI = {
    "premise": ["a cat sat", "a cat sat", "a dog ran", "a dog ran", *["red fish"] * 8],
    "hypothesis": ["the cat sat", "no cat sat here", "the dog ran", "birds sing", *"abcdefgh"],
    "label": [2, 0, 2, 1, *[2] * 8],
}


def test_triplets_of_classes_have_negatives_of_the_same_anchor(model):
    data = Dataset.from_dict(NLI)
    made = forms_turned.turned(forms_turned.TRIPLETS_OF_CLASSES, _named(data), model, 1)
    rows = list(zip(made["anchor"], made["positive"], made["negative"]))
    assert ("a cat sat", "the cat sat", "no cat sat here") in rows
    assert ("a dog ran", "the dog ran", "birds sing") in rows
    assert all(negative not in (anchor, positive) for anchor, positive, negative in rows)
    for anchor, _, negative in rows:  # no text that goes with the anchor is a negative of it
        assert not (anchor == "red fish" and negative in "abcdefgh")


def _named(data, names=("contradiction", "neutral", "entailment")):
    from datasets import ClassLabel

    return data.cast_column("label", ClassLabel(names=list(names)))


def test_turns_and_measure_take_the_same_class_for_alike(model):
    for names in (None, ("contradiction", "neutral", "entailment"), ("same", "not the same", "c")):
        data = Dataset.from_dict(NLI) if names is None else _named(Dataset.from_dict(NLI), names)
        measured = measure_for(data, None, forms.PAIR_AND_CLASS, model=model).targets
        graded = forms_turned.turned(forms_turned.GRADES, data, model, 1)["score"]
        assert [score == 1 for score in graded] == measured.tolist()


def test_a_turn_reads_no_more_rows_than_it_is_told(model):
    data = Dataset.from_dict(topics.pairs(200))
    read = []

    class Watched:
        def encode(self, texts, **options):
            read.extend(texts)
            return model.encode(texts, **options)

        encode_query = encode_document = encode

        def __getattr__(self, name):
            return getattr(model, name)

    rows = [
        forms_turned.turned(forms_turned.MINED, data, Watched(), seed, most=40, relative_margin=0.0)
        for seed in (1, 1, 2)
    ]
    assert 0 < len(read) <= 3 * 80
    assert rows[0].to_dict() == rows[1].to_dict() != rows[2].to_dict()
    assert set(rows[0]["anchor"]) <= set(data["query"])


def test_a_turn_that_encodes_is_told_to_read_what_the_budget_can_train_on(monkeypatch):
    monkeypatch.setattr(forms_turned, "_LEAST", 10)
    data = Dataset.from_dict(topics.pairs(200))
    within = forms_turned.within
    assert within(forms_turned.MINED, data, 100, {"negatives": 2}) == {"most": 50, "negatives": 2}
    assert within(forms_turned.MINED, data, 100, {"most": 7}) == {"most": 7}
    assert within(forms_turned.MINED, data, 3, {}) == {"most": 10}
    assert within(forms_turned.MINED, data, 400, {}) == {}
    assert within(forms_turned.MINED, data, None, {}) == {}
    assert within(forms_turned.AS_IT_IS, data, 100, {}) == {}
    with pytest.raises(SettingError, match="most must be a whole number"):
        forms_turned.turned(forms_turned.MINED, data, None, 1, most=0)


def test_grades_go_from_0_to_1_in_equal_steps(model):
    made = forms_turned.turned(forms_turned.GRADES, _named(Dataset.from_dict(NLI)), model, 1)
    found = dict(zip(NLI["label"], made["score"]))
    assert sorted(found.values()) == [0, 0.5, 1] and found[2] == 1


def test_high_pairs_and_matches_are_those(model):
    scored = Dataset.from_dict(
        {
            "a": [f"a{n}" for n in range(50)],
            "b": [f"b{n}" for n in range(50)],
            "score": [n / 49 for n in range(50)],
        }
    )
    made = forms_turned.turned(forms_turned.HIGH_PAIRS, scored, model, 1)
    assert made["anchor"] == [f"a{n}" for n in range(50) if n / 49 >= 0.8]
    labelled = Dataset.from_dict(
        {"a": list("abcdefghijklmnopqrst"), "b": list("ABCDEFGHIJKLMNOPQRST"), "label": [0, 1] * 10}
    )
    made = forms_turned.turned(forms_turned.MATCHES, labelled, model, 1)
    assert made["anchor"] == list("bdfhjlnprt")


def test_too_few_rows_and_unknown_settings_are_said(model):
    few = Dataset.from_dict({"a": ["x", "y"], "b": ["z", "w"], "label": [0, 1]})
    with pytest.raises(DatasetError, match="only 1 rows could be made"):
        forms_turned.turned(forms_turned.MATCHES, few, model, 1)
    with pytest.raises(SettingError, match="does not take"):
        forms_turned.turned(forms_turned.MATCHES, few, model, 1, level=3)


def test_a_text_is_halved_between_sentences_or_words():
    assert forms_turned.half("One two three. Four five six.") == (
        "One two three.",
        "Four five six.",
    )
    assert forms_turned.half(" ".join("abcdefghijkl")) == ("a b c d e f", "g h i j k l")
    assert forms_turned.half("too short to halve") is None


# Mixing -------------------------------------------------------------------------------------------


def test_a_mix_is_on_the_line_between_start_and_end(folder):
    model = SentenceTransformer(str(folder))
    start = mixing.weights_of(model)
    trained = {n: t + 1 if t.is_floating_point() else t for n, t in start.items()}
    for alpha in (0, 0.25, 1):
        mixing.put(model, start, trained, alpha)
        for name, tensor in model.state_dict().items():
            expected = start[name] + alpha * (trained[name] - start[name])
            torch.testing.assert_close(tensor, expected, atol=1e-6, rtol=0)
            if alpha in (0, 1):
                assert torch.equal(tensor, (start, trained)[alpha][name])


def test_the_share_at_a_threshold_is_a_little_smaller_than_what_was_seen():
    """Pairs of share and agreement that were measured on one line each."""
    for (high, low), (share, agreement) in (
        ((1.0, 0.9852), (0.5, 0.9958)),
        ((1.0, 0.9681), (0.34, 0.9957)),
        ((1.0, 0.9411), (0.67, 0.9704)),
        ((1.0, 0.9411), (0.5, 0.9832)),
        ((1.0, 0.9948), (0.75, 0.9969)),
    ):
        assert share - 0.12 < mixing.share_at(agreement, high, low) <= share
    assert mixing.share_at(0.995, 1.0, 0.9949) == 0.95
    assert mixing.share_at(0.995, 0.5, 0.9949) < 0.5


# The decision -------------------------------------------------------------------------------------


def values(solved, measure):
    rows = np.asarray(solved, float)
    return Values(measure, rows, measure.figure_of(rows))


@pytest.fixture(scope="module")
def measure(model):
    data = topics.classes(600)
    return measure_for(data, None, forms.TEXT_AND_CLASS)


def mix(before, after, alpha=1.0, passes=True, place=0):
    return Mix(place, alpha, after, gain(before, after), 0.99, passes)


def test_of_many_without_a_gain_the_best_is_seldom_taken(measure):
    """Ten candidates without any gain, 100 times: the bar of each family of them holds."""
    random = np.random.default_rng(0)
    wrong = 0
    for seed in range(60):
        before = values(random.random(600) < 0.3, measure)
        tried = [values(random.random(600) < 0.3, measure) for _ in range(8)]
        errors = decision.bar(before, tried, seed)
        mixes = [mix(before, one, alpha) for alpha, one in zip(np.linspace(0.1, 1, 8), tried)]
        wrong += decision.choose(before, mixes, errors).mix is not None
    assert wrong <= 6


def test_a_real_gain_is_taken(measure):
    random = np.random.default_rng(1)
    before = values(random.random(600) < 0.5, measure)
    better = values(np.maximum(before.rows, random.random(600) < 0.2), measure)
    choice = decision.choose(before, [mix(before, better)], decision.bar(before, [better]))
    assert choice.mix is not None and "over the start" in choice.reason
    assert choice.cause == "gain"


def test_the_best_is_taken_or_a_larger_share_that_may_be_as_good(measure):
    random = np.random.default_rng(1)
    before = values(random.random(600) < 0.5, measure)
    better = values(np.maximum(before.rows, random.random(600) < 0.2), measure)
    missed = np.flatnonzero(better.rows)
    nearly, behind = better.rows.copy(), better.rows.copy()
    nearly[missed[0]] = nearly[missed[1]] = behind[missed[:20]] = 0
    nearly[np.flatnonzero(better.rows == 0)[0]] = 1  # one row better, two worse
    best = mix(before, better, 0.5)
    larger = mix(before, values(nearly, measure), 1.0)
    worse = mix(before, values(behind, measure), 0.75)
    start = mix(before, before, 0.1)
    assert decision.choose(before, [best, worse, start], 2.0).mix is best
    assert decision.choose(before, [best, worse, larger], 2.0).mix is larger
    other = replace(larger, place=1)  # of another training
    assert decision.choose(before, [best, other], 2.0).mix is best


def test_after_short_runs_an_earlier_choice_goes_on_unless_a_later_one_is_clearly_better(measure):
    random = np.random.default_rng(1)
    first = values(random.random(600) < 0.5, measure)
    nearly, clearly = first.rows.copy(), first.rows.copy()
    wrong = np.flatnonzero(first.rows == 0)
    nearly[wrong[:40]], nearly[np.flatnonzero(first.rows)[:38]] = 1, 0  # 40 rows better, 38 worse
    clearly[wrong[:40]] = 1
    tried = [first, values(nearly, measure), values(clearly, measure)]
    of_form = CANDIDATES[forms.TEXT_AND_CLASS.name]
    one, chance, better = (Entry(c, n, values=v) for n, (c, v) in enumerate(zip(of_form, tried)))
    assert chance.values.figure > one.values.figure
    assert first_as_good([one, chance]) is one
    assert first_as_good([one, chance, better]) is better
    assert first_as_good([better, chance, one]) is better
    diverged = Entry(of_form[0], 3, values=Values(measure, np.full(600, np.nan), float("nan")))
    assert first_as_good([diverged, one]) is one


def test_what_moved_too_much_is_not_taken(measure):
    random = np.random.default_rng(1)
    before = values(random.random(600) < 0.5, measure)
    better = values(np.maximum(before.rows, random.random(600) < 0.2), measure)
    forgot = mix(before, better, passes=False)
    choice = decision.choose(before, [forgot], 2.0)
    assert choice.mix is None and choice.cause == "better_but_forgot"
    assert "knew before" in choice.reason and "a lower --agreement allows" in choice.reason
    short = decision.choose(before, [forgot], 2.0, is_cut_short=True)
    assert "no time was left" in short.reason and "--budget" in short.reason
    same = mix(before, before, 0.5)  # keeps enough, without a gain
    assert decision.choose(before, [forgot, same], 2.0).cause == "better_but_forgot"
    no_better = mix(before, before, passes=False)
    assert decision.choose(before, [no_better], 2.0).cause == "forgot"
    assert decision.choose(before, [no_better, same], 2.0).cause == "no_gain"


def test_few_groups_prove_nothing():
    data = topics.classes(60)
    few = measure_for(data, None, forms.TEXT_AND_CLASS, groups=np.arange(60) // 3)
    before, after = values(np.zeros(60), few), values(np.ones(60), few)
    choice = decision.choose(before, [mix(before, after)], 2.0)
    assert choice.mix is None and "only 20 held-out rows" in choice.reason
    assert choice.cause == "few_rows"


# The general check --------------------------------------------------------------------------------


def test_the_start_agrees_with_itself_and_another_model_does_not(model, tmp_path):
    check = general.Check.of(model)
    assert check.agreement(model) == pytest.approx(1)
    other = SentenceTransformer(str(tiny.make_folder(tmp_path / "other", seed=5)))
    assert check.agreement(other) < general.THRESHOLD


def test_the_built_in_pairs_are_many_different_and_always_the_same():
    pairs = general.built_in()
    assert len(pairs) == len(set(pairs)) == 175
    assert pairs == general.built_in()
    assert all(one != other and one[0].isupper() for one, other in pairs)


def test_each_text_is_encoded_once(model):
    encoded = Encoded(model)
    texts = ["a cat", "a dog", "a cat"]
    first = encoded.encode(texts)
    assert encoded.texts == 2
    np.testing.assert_array_equal(first, encoded.encode(texts))
    np.testing.assert_allclose(first, model.encode(texts), atol=1e-6)
    assert encoded.texts == 2
    encoded.encode_query(["a cat"])
    assert encoded.texts == 3


# Options and run files ----------------------------------------------------------------------------


def test_options_are_brought_to_their_types():
    found = Settings.of(
        {
            "epochs": "2",
            "steps": None,
            "columns": "anchor=query,positive",
            "matryoshka": "32,16",
            "loss_settings": '{"scale": 10}',
            "report_to": "tensorboard,wandb",
        }
    )
    assert found.epochs == 2.0
    assert found.columns == {"anchor": "query", "positive": "positive"}
    assert found.matryoshka == [32, 16]
    assert found.loss_settings == {"scale": 10}
    assert found.report_to == ["tensorboard", "wandb"]
    assert Settings.of(found.given) == found


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bach_size": 3}, "did you mean batch_size"),
        ({"batch-size": 3}, "did you mean batch_size"),
        ({"epochs": "many"}, "must be a number, got 'many'"),
        ({"epochs": -1}, "above 0"),
        ({"epochs": 1, "steps": 3}, "not both"),
        ({"alpha": 2}, "between 0 and 1"),
        ({"budget": "soon"}, "a time as 90s, 10m"),
        ({"seed": 1.5}, "a whole number"),
    ],
)
def test_what_is_wrong_is_said(options, words):
    with pytest.raises(SettingError, match=words):
        Settings.of(options)


def test_budgets_are_times_or_multiples():
    assert seconds_or_passes("10m") == (600, None)
    assert seconds_or_passes("1.5h") == (5400, None)
    assert seconds_or_passes("90s") == (90, None)
    assert seconds_or_passes("3x") == (None, 3)
    assert seconds_or_passes("auto") == (None, None)


def test_a_run_file_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "run.yaml"
    options = {"loss": "CoSENTLoss", "learning_rate": 2e-05, "seed": 3, "prompts": {"query": "é: "}}
    path.write_text(run_file.text_of(["a.csv"], options, {"a.csv": "00ff"}, str(path)))
    found = run_file.read(path)
    assert found.data == ["a.csv"] and found.options == options
    assert found.hashes == {"a.csv": "00ff"} and found.versions == run_file.versions()
    assert f"sentune train --config {path}" in path.read_text()


def test_a_run_file_by_hand_may_be_wrong(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("data: a.csv\nbatch-size: 8\nlearning-rate: 2e-5\n")
    found = run_file.read(path)
    assert found.data == ["a.csv"] and Settings.of(found.options).learning_rate == 2e-5
    path.write_text("batchsize: 8\n")
    with pytest.raises(SettingError, match="did you mean batch_size"):
        run_file.read(path)
    path.write_text("- a\n")
    with pytest.raises(SettingError, match="options as"):
        run_file.read(path)
    path.write_text("a: [")
    with pytest.raises(SettingError, match="is no YAML"):
        run_file.read(path)
    with pytest.raises(SettingError, match="cannot be read"):
        run_file.read(tmp_path / "none.yaml")


def test_another_model_is_an_error():
    known = run_file.RunFile(hashes={"model": "ab"})
    with pytest.raises(ModelFileError, match="the model to start from changed"):
        run_file.check_same(known, {"model": "cd"})
    run_file.check_same(known, {"model": "ab"})
