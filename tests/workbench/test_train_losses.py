"""Every loss that `inspect` names for some data can be trained with by its name alone."""

import pytest
from datasets import Dataset

from sentune import SentenceTransformer
from sentune.errors import SettingError
from sentune.losses import SiameseDistanceMetric, TripletDistanceMetric
from sentune.losses.fitting import public_losses
from sentune.losses.mining import BatchHardTripletLossDistanceFunction
from sentune.util import dot_score, pairwise_cos_sim
from sentune.workbench import inspect, train
from sentune.workbench.racing.candidates import Candidate, candidates
from sentune.workbench.racing.loss import loss_of
from sentune.workbench.rows.prepared import form_of
from sentune.workbench.settings import Settings
from tests import tiny
from tests.workbench import test_train

FORMS = {
    form: {name: cells[:60] for name, cells in data.items()}
    for form, data in test_train.FORMS.items()
}
FEW = {"steps": 2, "alpha": 1, "dtype": "float32", "test_share": 0, "folds": 1}
NAMED = [(form, each["name"]) for form, data in FORMS.items() for each in inspect(data).losses]


@pytest.fixture(scope="module")
def model(tiny_bert_folder):
    return SentenceTransformer(str(tiny_bert_folder))


@pytest.mark.parametrize(("loss", "form"), {loss: form for form, loss in NAMED}.items())
def test_its_name_is_enough(loss, form, tiny_bert_folder, tmp_path):
    found = train(FORMS[form], tiny_bert_folder, tmp_path / "out", loss=loss, **FEW)
    (entry,) = [one for one in found.record["leaderboard"] if one["rounds"]][:1]
    assert entry["name"].startswith(loss)


@pytest.mark.parametrize(("form", "loss"), NAMED)
def test_the_code_to_start_makes_it(form, loss, tiny_bert_folder):
    code = inspect(FORMS[form], str(tiny_bert_folder), loss=loss).commands["python"]
    lines = code.replace("rows = ...", f"rows = {FORMS[form]!r}").splitlines()
    names = {}
    assert candidates(form_of(Dataset.from_dict(FORMS[form])), {"loss": loss})
    exec("\n".join(line for line in lines if "Trainer(" not in line and "save" not in line), names)
    assert type(names["loss"]).__name__ == loss


def made(name, model, **settings):
    rows = Dataset.from_dict({"anchor": ["a"], "positive": ["b"], "label": [2]})
    return loss_of(Candidate(name, 1e-5, 8, loss_settings=settings), model, rows, Settings())


@pytest.mark.parametrize(
    ("loss", "name", "value", "is_then"),
    [
        ("TripletLoss", "distance_metric", "cosine", TripletDistanceMetric.COSINE),
        ("TripletLoss", "distance_metric", "MANHATTAN", TripletDistanceMetric.MANHATTAN),
        ("ContrastiveLoss", "distance_metric", "cosine", SiameseDistanceMetric.COSINE_DISTANCE),
        (
            *("BatchHardTripletLoss", "distance_metric", "cosine"),
            BatchHardTripletLossDistanceFunction.cosine_distance,
        ),
        ("EmbedDistillLoss", "distance_metric", "l2", "l2"),
        ("MultipleNegativesRankingLoss", "similarity_fct", "dot_score", dot_score),
        ("MarginMSELoss", "similarity_fct", "pairwise_cos_sim", pairwise_cos_sim),
    ],
)
def test_functions_are_given_by_name(loss, name, value, is_then, model):
    assert getattr(made(loss, model, **{name: value}), name) == is_then


def test_a_guide_is_a_folder_or_the_start(model, tiny_bert_folder, tmp_path):
    other = tiny.make_folder(tmp_path / "other", seed=5)
    guide = made("GISTEmbedLoss", model, guide=str(other)).guide
    assert guide is not model
    options = {"loss": "GISTEmbedLoss", "loss_settings": {"guide": str(other)}}
    found = train(FORMS["pairs"], tiny_bert_folder, tmp_path / "out", **options, **FEW)
    file = found.model_path / "run.yaml"
    assert f"guide: {other}" in file.read_text(encoding="utf-8")
    again = train(FORMS["pairs"], config=file, output=tmp_path / "again")
    assert again.record["result"] == found.record["result"]


def test_the_classes_are_counted(model):
    assert made("SoftmaxLoss", model).num_labels == 3
    assert made("SoftmaxLoss", model, num_labels=5).num_labels == 5


@pytest.mark.parametrize(
    ("loss", "settings", "said"),
    [
        ("TripletLoss", {"distance_metric": "cosin"}, "distance_metric.*did you mean cosine"),
        ("TripletLoss", {"triplet_margn": 1}, "TripletLoss.*did you mean triplet_margin"),
        ("MarginMSELoss", {"similarity_fct": "cos"}, "there are pairwise_cos_sim, "),
    ],
)
def test_what_a_loss_does_not_take_is_said(loss, settings, said, model):
    with pytest.raises(SettingError, match=said):
        made(loss, model, **settings)


def test_losses_that_can_are_named_and_wrappers_have_their_option(tiny_bert_folder, tmp_path):
    with pytest.raises(SettingError, match="losses that can: .*GISTEmbedLoss.*MegaBatchMarginLoss"):
        train(FORMS["pairs"], tiny_bert_folder, tmp_path / "out", loss="CoSENTLoss", **FEW)
    for name in [name for name, kind in public_losses().items() if not kind.forms]:
        with pytest.raises(SettingError, match=f"{name} is computed of another .*--matryoshka"):
            train(FORMS["pairs"], tiny_bert_folder, tmp_path / "out", loss=name, **FEW)


def test_the_topics_have_all_forms_that_files_have():
    assert len({form for form, _ in NAMED}) == len(FORMS)
