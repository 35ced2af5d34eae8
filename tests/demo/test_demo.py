"""The demo, on a tiny model and a small part of the documentation."""

import contextlib
import io
import json
import sys

import pytest

from sentune.cli import main
from sentune.demo import show as _demo
from sentune.demo import steps as _demo_steps
from sentune.demo.pydocs import Entry
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.losses.contrast import MultipleNegativesRankingLoss
from sentune.training.arguments import BatchSamplers

LIMIT = 80


@pytest.fixture(scope="module")
def demo(tiny_bert_folder, tmp_path_factory):
    """One run: status, what was printed, where the model is, the figures."""
    folder = tmp_path_factory.mktemp("demo")
    model, figures = folder / "model", folder / "sub" / "figures.json"
    words = ["demo", "--model", str(tiny_bert_folder), "--limit", str(LIMIT)]
    words += ["--batch-size", "16", "--epochs", "2", "--output", str(model), "--json", str(figures)]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    return status, out.getvalue(), err.getvalue(), model, json.loads(figures.read_text())


def test_it_ends_well_and_without_noise(demo):
    status, out, err, _, _ = demo
    assert status == 0
    assert err == ""
    assert "Warning:" not in out


def test_its_lines_are_plain_and_fit_a_screen(demo):
    lines = demo[1].splitlines()
    assert all(line.isprintable() for line in lines)
    own = [line for line in lines if "/" not in line or "pairs/s" in line]  # paths are the user's
    assert len(own) > 40
    assert max(map(len, own)) <= 100


def test_the_story_is_told_in_order(demo):
    out = demo[1]
    parts = ["Documents  ", "Model  ", "Before  ", "Training  ", "After  ", "Held-out queries"]
    parts += [*_demo.SEARCHES, "Done in", str(demo[3].resolve()), "SentenceTransformer("]
    places = [out.index(part) for part in parts]
    assert places == sorted(places)
    assert f"{LIMIT} functions, methods and classes" in out
    assert "pairs/s" in out and "loss" in out


def test_the_figures_are_written(demo):
    figures = demo[4]
    held_out = LIMIT // 5
    assert figures["corpus"]["held_out"] == held_out
    assert figures["corpus"]["train"] == LIMIT - held_out
    training = figures["training"]
    assert training["pairs"] == 2 * (LIMIT - held_out)
    assert training["steps"] >= 2 * (LIMIT - held_out) // 16
    assert training["pairs_per_second"] == pytest.approx(
        training["pairs"] / training["seconds"], rel=0.05
    )
    for moment in ("before", "after"):
        assert set(figures[moment]) == {"MRR@10", "hit@1", "hit@10"}
        assert 0 <= figures[moment]["hit@1"] <= figures[moment]["MRR@10"]
        assert figures[moment]["MRR@10"] <= figures[moment]["hit@10"] <= 1
    assert [found["query"] for found in figures["searches"]] == list(_demo.SEARCHES)
    assert all(len(found["after"]) == 3 for found in figures["searches"])
    assert figures["versions"]["torch"]


def test_the_figures_on_the_screen_are_those_in_the_file(demo):
    _, out, _, _, figures = demo
    row = next(line for line in out.splitlines() if line.startswith("  MRR@10"))
    assert row.split()[1:3] == [f"{figures[m]['MRR@10']:.3f}" for m in ("before", "after")]


def test_the_saved_model_is_the_trained_one_with_its_old_length_limit(demo, tiny_bert_folder):
    saved, start = SentenceTransformer(str(demo[3])), SentenceTransformer(str(tiny_bert_folder))
    assert saved.max_seq_length == start.max_seq_length
    weights = zip(saved.parameters(), start.parameters(), strict=True)
    assert any((new != old).any() for new, old in weights)


def test_the_recipe_is_the_one_of_the_readme(tiny_model, monkeypatch):
    class Spy(_demo_steps.SentenceTransformerTrainer):
        def train(self):
            trainers.append(self)

    trainers = []
    monkeypatch.setattr(_demo_steps, "SentenceTransformerTrainer", Spy)
    plan = _demo.Plan()
    corpus = _demo_steps.prepare(100)
    _demo_steps.train(
        tiny_model, corpus, epochs=plan.epochs, batch_size=plan.batch_size, seed=plan.seed
    )
    args, loss = trainers[0].args, trainers[0].loss
    assert (args.num_train_epochs, args.per_device_train_batch_size) == (1, 64)
    assert (args.learning_rate, args.get_warmup_steps(1000)) == (5e-5, 100)
    assert args.batch_sampler == BatchSamplers.NO_DUPLICATES
    assert type(loss) is MultipleNegativesRankingLoss


def test_what_is_shown_of_the_training_is_what_its_record_says(tiny_model):
    corpus, shown = _demo_steps.prepare(60), []
    run = _demo_steps.train(
        tiny_model, corpus, epochs=2, batch_size=8, seed=1, report=lambda *now: shown.append(now)
    )
    assert run is tiny_model.model_card_data.runs[-1]
    losses = run.logged("loss")
    assert run.steps == len(losses) == len(shown) >= 12
    assert [step for step, _, _ in shown] == list(range(1, run.steps + 1))
    assert shown[-1][1:] == (run.steps, pytest.approx(sum(losses[-10:]) / 10))
    found = _demo._training(run, 96)
    assert found["first_loss"] == pytest.approx(sum(losses[:10]) / 10, abs=1e-4)
    assert found["pairs_per_second"] == pytest.approx(96 / run.seconds, rel=0.01)


def test_it_trains_and_measures_on_64_tokens(tiny_bert_folder, tmp_path, monkeypatch):
    def train(model, *args, **kwargs):
        limits.append(model.max_seq_length)
        raise KeyboardInterrupt

    limits = []
    assert _demo_steps.MAX_SEQ_LENGTH == 64
    monkeypatch.setattr(_demo_steps, "MAX_SEQ_LENGTH", 9)  # the tiny model's own limit is 64
    monkeypatch.setattr(_demo_steps, "train", train)
    words = ["demo", "--limit", "30", "--model", str(tiny_bert_folder)]
    assert main([*words, "--output", str(tmp_path / "model")]) == 130
    assert limits == [9]


def test_the_last_lines_are_python_that_runs(demo, capsys):
    lines = demo[1].rstrip().splitlines()[-4:]
    exec("\n".join(line.strip() for line in lines))
    assert "tensor" in capsys.readouterr().out


def test_a_prompt_answers_own_searches(tiny_bert_folder, tmp_path, monkeypatch, capsys):
    asked = iter(["open a file", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(asked))
    words = ["demo", "--ask", "--limit", "30", "--model", str(tiny_bert_folder)]
    assert main([*words, "--output", str(tmp_path / "model")]) == 0
    answers = capsys.readouterr().out.split("an empty line ends.")[1]
    assert [line[:4] for line in answers.splitlines() if line.strip()][::2] == [
        f"  {rank} " for rank in range(1, 6)
    ]
    assert next(asked, None) is None


def test_the_prompt_ends_with_the_input(monkeypatch, capsys):
    def end(prompt):
        raise EOFError

    monkeypatch.setattr("builtins.input", end)
    _demo._ask(None, None, None)
    assert capsys.readouterr().out.endswith("\n\n")


def test_an_output_folder_with_other_things_is_refused_before_any_work(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("precious")
    assert main(["demo", "--output", str(tmp_path)]) == 2
    assert "--output" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("option", ["--output", "--json"])
def test_a_place_that_cannot_be_written_is_refused_before_any_work(option, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = {"--output": tmp_path / "model", option: tmp_path / "file" / "below"}
    assert main(["demo", *(str(word) for pair in words.items() for word in pair)]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_folder_in_place_of_the_file_for_figures_is_refused_before_any_work(tmp_path, capsys):
    words = ["demo", "--output", str(tmp_path / "model"), "--json", str(tmp_path)]
    assert main(words) == 2
    assert "is a folder; give the name of a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "least"),
    [("--limit", "4", 5), ("--epochs", "0", 1), ("--batch-size", "many", 1), ("--limit", "-7", 5)],
)
def test_numbers_out_of_range_are_named(option, value, least, capsys):
    with pytest.raises(SystemExit):
        main(["demo", option, value])
    said = capsys.readouterr().err
    assert f"{option}: must be an integer of at least {least}, got '{value}'" in said


def test_the_smallest_limit_is_enough():
    corpus = _demo_steps.prepare(5)
    assert (len(corpus.train), len(corpus.held_out)) == (4, 1)


def test_a_model_that_is_none_is_one_clear_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    words = ["demo", "--limit", "30", "--model", str(tmp_path / "empty")]
    assert main([*words, "--output", str(tmp_path / "model")]) == 2
    assert capsys.readouterr().err.startswith("sentune demo: ")


def test_ctrl_c_in_training_is_a_clean_end(tiny_bert_folder, tmp_path, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_demo_steps._Watch, "on_log", interrupt)
    words = ["demo", "--limit", "30", "--model", str(tiny_bert_folder)]
    assert main([*words, "--output", str(tmp_path / "model")]) == 130
    captured = capsys.readouterr()
    assert captured.err == "\nStopped.\n"
    assert "Done" not in captured.out
    assert not (tmp_path / "model" / "modules.json").exists()


def test_the_packaged_model_is_found_without_importing_its_package(tmp_path, monkeypatch):
    package = tmp_path / _demo_steps.MODEL_PACKAGE
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert _demo_steps.default_model() == str(package / "model")


def test_without_the_package_the_model_comes_from_the_hub(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    assert _demo_steps.default_model() == "sentence-transformers/all-MiniLM-L6-v2"


def test_a_signature_that_is_too_long_loses_its_parameters():
    entry = Entry("module.function", "q", "module.function(first, second) and the rest")
    assert _demo._signature(entry, 40) == "module.function(first, second)"
    assert _demo._signature(entry, 25) == "module.function(...)"
    assert len(_demo._signature(entry, 12)) <= 12
