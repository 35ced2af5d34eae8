"""What is wrong with a dataset for a loss, said before the first step."""

import warnings

import pytest
from datasets import Dataset, IterableDataset

from sentune.data.example import InputExample
from sentune.data.forms import Label, Limits
from sentune.data.profile import profile
from sentune.errors import DatasetError, SentuneWarning
from sentune.losses.fitting import advice, check, losses_for, problems

MNRL = "MultipleNegativesRankingLoss"
Q = [f"question {n}" for n in range(4)]
A = [f"answer {n}" for n in range(4)]
N = [f"wrong {n}" for n in range(4)]


def fatal(data, loss, **kwargs):
    """The text of the one error."""
    with pytest.raises(DatasetError) as error:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SentuneWarning)
            check(data, loss, **kwargs)
    return str(error.value)


def odd(data, loss, **kwargs):
    """The text of the one warning."""
    with pytest.warns(SentuneWarning) as caught:
        check(data, loss, **kwargs)
    (warning,) = caught
    assert warning.filename == __file__
    return str(warning.message)


GOOD = [
    ({"a": Q, "b": A, "score": [0.0, 0.5, 0.7, 1.0]}, "CosineSimilarityLoss"),
    ({"a": Q, "b": A, "score": [-1.0, 0.5, 0.7, 1.0]}, "CosineSimilarityLoss"),
    ({"a": Q, "b": A, "score": [0, 1, 1, 0]}, "CosineSimilarityLoss"),
    ({"a": Q, "b": A, "score": [0.0, 3.5, 4.7, 5.0]}, "CoSENTLoss"),
    ({"a": Q, "b": A, "label": [0, 1, 1, 0]}, "ContrastiveLoss"),
    ({"a": Q, "b": A, "label": [0.0, 1.0, 1.0, 0.0]}, "OnlineContrastiveLoss"),
    ({"a": Q, "b": A, "label": [0, 1, 2, 0]}, "SoftmaxLoss"),
    ({"question": Q, "answer": A}, MNRL),
    ({"question": Q, "answer": A, "negative": N}, MNRL),
    ({"question": Q, "answer": A, "negative": N}, "TripletLoss"),
    ({"anchor": Q, "positive": A, "negative_1": N, "negative_2": N[::-1]}, MNRL),
    ({"text": Q, "label": [3, 3, 5, 5]}, "BatchHardTripletLoss"),
    ({"q": Q, "d": A, "e": N, "scores": [[1.0, 0.2], [0.5, 0.2]] * 2}, "DistillKLDivLoss"),
    ({"q": Q, "d": A, "e": N, "score": [1.0, 0.2, 0.3, 2.0]}, "MarginMSELoss"),
    ({"text": Q, "label": [[0.1] * 8, [0.2] * 8] * 2}, "MSELoss"),
    ({"text": Q}, "ContrastiveTensionLossInBatchNegatives"),
    ({"damaged": Q, "whole": A}, "DenoisingAutoEncoderLoss"),
]


@pytest.mark.parametrize(("data", "loss"), GOOD)
@pytest.mark.parametrize("as_data", [dict, Dataset.from_dict], ids=["dict", "Dataset"])
def test_good_data_pass_without_a_word(as_data, data, loss):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = check(as_data(data), loss, batch_size=2)
    assert found.rows == 4


def test_one_message_says_what_is_wanted_what_is_there_and_what_would_fit():
    text = fatal({"text": Q, "label": [0, 0, 1, 2]}, "TripletLoss", name="trec")
    assert text.startswith("the dataset 'trec' does not fit TripletLoss:")
    assert "three texts (anchor, positive, negative) without a label" in text
    assert "1 text column ('text') and integers (3 different, 0 to 2) in 'label'" in text
    assert "Losses that fit it: SupervisedContrastiveLoss, BatchAllTripletLoss" in text


def test_data_that_nothing_reads_get_advice_too():
    text = fatal({"a": Q, "b": A, "label": [[1.0], [1.0, 2.0]] * 2}, "SoftmaxLoss")
    assert "lists of unequal lengths in 'label'" in text
    assert "lists of unequal" in fatal({"a": Q, "label": [[1.0], [1.0, 2.0]] * 2}, "MSELoss")
    text = fatal({"label": [1, 2, 3, 3]}, "SoftmaxLoss")
    assert "No loss reads that" in text and "remove, rename or reorder" in text


@pytest.mark.parametrize(
    ("data", "loss"),
    [
        ({"a": Q, "b": A, "label": [0.5, 1.5, 2.0, 0.0]}, "SoftmaxLoss"),
        ({"text": Q, "label": [0.5, 1.5, 2.0, 0.0]}, "BatchAllTripletLoss"),
        ({"a": Q, "b": A, "label": [0.2, 1.0, 0.7, 0.0]}, "OnlineContrastiveLoss"),
        ({"a": Q, "b": A, "label": [0, 1, 2, 0]}, "ContrastiveLoss"),
    ],
)
def test_floats_where_integers_belong_are_an_error(data, loss):
    assert f"{loss} wants" in fatal(data, loss)


def test_integers_where_floats_belong_are_odd_and_out_of_range_an_error():
    data = {"a": Q, "b": A, "label": [0, 1, 5, 3]}
    assert "CoSENTLoss reads float labels, and 'label' holds integers" in odd(data, "CoSENTLoss")
    assert "wants scores from -1 to 1, 'label' has 0 to 5; divide by 5" in fatal(
        data, "CosineSimilarityLoss"
    )


def test_scores_out_of_range_are_an_error_unless_the_loss_can_reach_them():
    data = {"a": Q, "b": A, "score": [0.0, 2.5, 4.0, 5.0]}
    assert "divide by 5" in fatal(data, "CosineSimilarityLoss")
    check(data, "CosineSimilarityLoss", limits=Limits(scores=(0, 5)))
    assert "from 0 to 1" in fatal(
        {"a": Q, "b": A, "score": [0.0, 0.5, 1.0, 1.5]}, "ContrastiveLoss"
    )


def test_scores_out_of_range_point_to_the_loss_that_reads_only_their_order():
    data = {"a": Q, "b": A, "score": [0.0, 2.5, 4.0, 5.0]}
    assert "or take CoSENTLoss" in fatal(data, "CosineSimilarityLoss")
    assert "CoSENTLoss" not in fatal({**data, "score": [0.0, 1.0, 0.5, 1.5]}, "ContrastiveLoss")


@pytest.mark.parametrize(
    ("labels", "advised"),
    [([0, 1, 2, 3], "set num_labels=4"), ([0, -1, 2, -1], "filter out the 2 rows below 0")],
)
def test_classes_without_a_place_in_the_classifier_are_an_error(labels, advised):
    data = {"a": Q, "b": A, "label": labels}
    text = fatal(data, "SoftmaxLoss", limits=Limits(classes=3))
    assert f"num_labels=3 wants 0 to 2, 'label' has {min(labels)} to {max(labels)}" in text
    assert advised in text
    check(data, "SoftmaxLoss")
    check({**data, "label": [0, 1, 2, 2]}, "SoftmaxLoss", limits=Limits(classes=3))


def test_embeddings_of_another_width_are_an_error():
    data = {"text": Q, "label": [[0.1] * 8, [0.2] * 8] * 2}
    text = fatal(data, "MSELoss", limits=Limits(width=6))
    assert "wants embeddings of 6 numbers, 'label' has 8; set projection_dim=8" in text
    check(data, "MSELoss", limits=Limits(width=8))


def test_classes_that_are_floats_are_to_be_cast():
    text = fatal({"text": Q, "label": [1.0, 1.0, 2.0, 2.0]}, "BatchHardTripletLoss")
    assert "floats that are whole numbers (1 to 2)" in text
    assert "dataset.cast_column('label', datasets.Value('int64')) makes integers of them." in text
    halves = {"a": Q, "b": A, "label": [0.5, 1.0, 2.0, 2.0]}
    assert "cast_column" not in fatal(halves, "SoftmaxLoss")
    assert "cast_column" not in fatal({**halves, "label": [3.0, 1.0, 2.0, 2.0]}, "TripletLoss")


def test_bad_cells_do_not_hide_what_the_loss_wants():
    text = fatal({"a": Q, "b": A, "similarity": [0.1, 0.2, 0.3, 0.4]}, "CoSENTLoss")
    assert "column 'similarity' has numbers" in text
    assert "CoSENTLoss wants two texts and a float" in text
    assert "The dataset has" not in text  # three text columns would be wrong


def test_rows_that_are_alone_in_a_random_batch_are_odd():
    data = {"text": [*Q, *A, *N], "label": [0, 1, 2, 3, 4, 5] * 2}
    text = odd(data, "BatchAllTripletLoss", batch_size=4, is_random=True)
    # A row has none of the three others of its class with a chance of (5/6)^3 = 58%.
    assert "in random batches of 4 about 58% of the rows are the only one of their class" in text
    assert "batch_sampler='group_by_label'" in text and "SentenceLabelDataset" in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(data, "BatchAllTripletLoss", batch_size=12, is_random=True)
        check(data, "BatchAllTripletLoss", batch_size=4)


def test_a_dataset_without_texts_is_an_error_whatever_the_loss():
    assert "no text column" in fatal({"label": [1, 2, 3, 3]}, "MyLoss")


def test_weights_between_same_and_different_are_odd_for_the_contrastive_loss():
    data = {"a": Q, "b": A, "score": [0.0, 0.5, 1.0, 0.2]}
    assert "reads labels 0 and 1" in odd(data, "ContrastiveLoss")


@pytest.mark.parametrize(
    ("data", "loss"),
    [
        ({"a": Q, "b": A, "score": [0.5] * 4}, "CoSENTLoss"),
        ({"a": Q, "b": A, "score": [1] * 4}, "CosineSimilarityLoss"),
        ({"a": Q, "b": A, "label": [1] * 4}, "ContrastiveLoss"),
        ({"a": Q, "b": A, "label": [2] * 4}, "SoftmaxLoss"),
        ({"text": Q, "label": [2] * 4}, "BatchHardTripletLoss"),
    ],
)
def test_constant_labels_are_an_error(data, loss):
    assert "nothing to learn from" in fatal(data, loss)


@pytest.mark.parametrize(
    ("data", "loss"),
    [
        ({"q": Q, "d": A, "e": N, "scores": [[1.0, 0.2]] * 4}, "DistillKLDivLoss"),
        ({"q": Q, "d": A, "e": N, "score": [1.0] * 4}, "MarginMSELoss"),
        ({"q": Q, "d": A, "e": N, "score": [3] * 4}, "MarginMSELoss"),
        ({"text": Q, "label": [[0.1] * 8] * 4}, "MSELoss"),
        ({"a": Q, "b": A, "label": [[[0.1] * 8] * 2] * 4}, "EmbedDistillLoss"),
    ],
)
def test_constant_scores_and_embeddings_of_a_teacher_are_an_error(data, loss):
    assert "nothing to learn from" in fatal(data, loss)


def test_margins_of_zero_and_one_are_margins():
    data = {"q": Q, "d": A, "e": N, "score": [1.0, 0.0, 0.0, 1.0]}
    check(data, "MarginMSELoss")


def test_embeddings_for_another_number_of_columns_are_an_error():
    labels = [[[0.1 * n] * 8] * 3 for n in range(4)]
    text = fatal({"a": Q, "b": A, "label": labels}, "MSELoss")
    assert "a row has 2 of them and 3 embeddings in 'label'" in text
    check({"a": Q, "b": A, "c": N, "label": labels}, "MSELoss", limits=Limits(width=8))
    text = fatal({"a": Q, "b": A, "c": N, "label": labels}, "MSELoss", limits=Limits(width=6))
    assert "wants embeddings of 6 numbers, 'label' has 8" in text
    uneven = [*labels[:3], [[0.1] * 8] * 2]
    check(
        {"a": Q, "b": A, "c": N, "label": uneven}, "MSELoss"
    )  # the loss itself says what it wants


@pytest.mark.parametrize("name", ["id", "query_id", "idx", "__index_level_0__"])
def test_a_column_that_is_named_like_an_id_is_odd(name):
    assert f"dataset.remove_columns({name!r})" in odd({name: Q, "question": N, "answer": A}, MNRL)


def test_labels_that_a_loss_does_not_read_are_odd_unless_they_are_all_the_same():
    examples = [InputExample(texts=[q, a]) for q, a in zip(Q, A, strict=True)]
    check(examples, MNRL)  # the label 0 that every InputExample has
    text = odd({"a": Q, "b": A, "score": [0.1, 0.2, 0.3, 0.4]}, MNRL)
    assert "reads no labels" in text and "CoSENTLoss" in text


def test_missing_and_foreign_cells_are_named_with_their_rows():
    text = fatal({"question": [*Q[:3], None], "answer": ["a", 7, 8, "b"]}, MNRL)
    assert "column 'question' has no text in row 3" in text
    assert "column 'answer' has numbers or bytes in place of texts in rows 1, 2" in text
    text = fatal({"a": Q, "b": A, "label": [0.5, None, float("nan"), "x"]}, "CoSENTLoss")
    assert "label column 'label' is empty in row 1" in text
    assert "NaN or infinite in row 2" in text
    assert "no number in row 3" in text and "class_encode_column" in text


def test_lists_in_cells_point_to_the_function_that_spreads_them():
    assert "sentune.data.spread" in fatal([{"query": "q", "pos": ["a", "b"]}], MNRL)
    nested = [{"set": {"query": "q", "pos": ["a"], "neg": ["b"]}}]
    assert "column 'set' has lists in row 0" in fatal(nested, "TripletLoss")


def test_an_empty_text_is_odd():
    assert "column 'answer' is empty in row 1" in odd(
        {"question": Q, "answer": ["a", " ", "b", "c"]}, MNRL
    )


def test_classes_with_a_single_row_are_odd_and_nothing_else_is_an_error():
    data = {"text": Q, "label": [7, 7, 8, 9]}
    assert "2 of 3 classes have a single row (8, 9)" in odd(data, "BatchHardTripletLoss")
    data = {"text": Q, "label": [6, 7, 8, 9]}
    assert "4 of 4 classes" in fatal(data, "BatchSemiHardTripletLoss")


@pytest.mark.parametrize(
    ("names", "better"),
    [
        (["answer", "question"], "['question', 'answer']"),
        (["document", "id_text", "query"], "['query', 'id_text', 'document']"),
        (["anchor", "negative", "positive"], "['anchor', 'positive', 'negative']"),
        (["positive", "anchor", "negative_1"], "['anchor', 'positive', 'negative_1']"),
    ],
)
def test_a_suspicious_order_of_columns_is_odd(names, better):
    data = dict(zip(names, [Q, A, N], strict=False))
    text = odd(data, MNRL)
    assert f"dataset.select_columns({better})" in text


def test_the_order_does_not_matter_to_losses_of_equal_texts():
    data = {"answer": Q, "question": A, "score": [0.1, 0.2, 0.3, 0.4]}
    check(data, "CoSENTLoss")


def test_identical_columns_are_an_error_except_for_the_method_that_wants_them():
    data = {"a": Q, "b": Q}
    assert "'a' and 'b' are the same in every row" in odd(data, MNRL)  # SimCSE
    assert "the same in every row" in fatal({**data, "c": N}, "TripletLoss")
    assert "the same in every row" in fatal(
        {**data, "score": [0.1, 0.2, 0.3, 0.4]}, "CosineSimilarityLoss"
    )


def test_a_constant_column_is_odd():
    assert "'a' has the same text in every row" in odd({"a": ["x"] * 4, "b": A}, MNRL)


def test_a_dataset_smaller_than_a_batch_is_odd_and_an_empty_one_an_error():
    data = {"question": Q, "answer": A}
    assert "4 rows, fewer than one batch of 16" in odd(data, MNRL, batch_size=16)
    assert "no rows" in fatal([], MNRL)


def test_a_batch_of_one_has_no_negatives():
    data = {"question": Q, "answer": A}
    assert "use at least 2" in fatal(data, MNRL, batch_size=1)
    check({**data, "negative": N}, MNRL, batch_size=1)


def test_two_label_columns_are_an_error():
    with pytest.raises(DatasetError, match="label and score"):
        check({"a": Q, "label": [1, 2, 3, 4], "score": [1, 2, 3, 4]}, MNRL)


def test_only_the_first_rows_of_a_stream_are_read():
    def rows():
        for n in range(5000):
            assert n < 2500, "read too far"
            yield {"question": f"q{n}", "answer": f"a{n}"}

    found = check(IterableDataset.from_generator(rows), MNRL, batch_size=2000)
    assert (found.rows, found.is_whole) == (1000, False)


def test_a_loss_of_ones_own_is_only_checked_for_bad_cells():
    check({"a": Q, "b": A, "c": N, "label": [0, 0, 0, 0]}, "MyLoss")
    assert "no text in row 1" in fatal({"a": ["x", None]}, "MyLoss")


def test_all_problems_come_in_one_list():
    found = profile({"text": Q, "label": [7, 7, 8, 9]})
    wrong = problems(found, "BatchHardTripletLoss", batch_size=8)
    assert [problem.is_fatal for problem in wrong] == [False, False]
    assert advice(found).startswith("losses that fit it: SupervisedContrastiveLoss")


def test_the_same_text_twice_is_a_form_of_its_own():
    loss = "ContrastiveTensionLossInBatchNegatives"
    for label in ({}, {"label": [0] * len(Q)}):  # the label that every InputExample has
        assert check({"a": Q, "b": Q, **label}, loss).rows == len(Q)
    assert "a and b differ" in fatal({"a": Q, "b": A}, loss)
    assert loss not in losses_for(2, Label("none"))
