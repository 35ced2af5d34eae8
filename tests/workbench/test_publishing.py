"""`card` and `push`: a card of what is recorded, and what of a folder goes to the Hub."""

import io

import pytest
from datasets import Dataset

from sentune import SentenceTransformer, SentenceTransformerTrainer
from sentune import SentenceTransformerTrainingArguments as Arguments
from sentune.cli import main
from sentune.errors import HubError, ModelFileError
from sentune.losses import MultipleNegativesRankingLoss
from sentune.workbench import card, push
from sentune.workbench.publishing import files_of
from tests.share.test_push import NAME, TOKEN, hub  # noqa: F401  (a fixture)


@pytest.fixture
def folder(tiny_model, tmp_path):
    tiny_model.save(str(tmp_path / "model"))
    return tmp_path / "model"


@pytest.fixture
def trained(tiny_model, tmp_path):
    data = Dataset.from_dict({"anchor": ["a dog", "a cat"] * 4, "positive": ["red", "blue"] * 4})
    args = Arguments(
        str(tmp_path / "run"), max_steps=2, report_to="none", save_strategy="no", use_cpu=True
    )
    loss = MultipleNegativesRankingLoss(tiny_model)
    trainer = SentenceTransformerTrainer(tiny_model, args, data, loss=loss)
    trainer.train()
    trainer.save_model(str(tmp_path / "trained"))
    return tmp_path / "trained"


def test_the_card_of_a_trained_model_is_made_again_from_its_record(trained):
    before = (trained / "README.md").read_text(encoding="utf-8")
    (trained / "README.md").unlink()
    found = card(trained)
    assert "MultipleNegativesRankingLoss" in found and "8 rows" in found
    assert found == before


def test_a_card_of_its_own_stays_unless_a_new_one_is_asked_for(folder):
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n", encoding="utf-8")
    found = card(folder, language=["en"], license="apache-2.0", datasets=["owner/data"])
    assert found.endswith("# Mine\n")
    assert "license: apache-2.0" in found and "- owner/data" in found and "- en" in found
    assert "# Mine" not in card(folder, is_new=True)
    named = card(folder, is_new=True, name="Nice", model_id="me/nice")
    assert "# Nice" in named and 'SentenceTransformer("me/nice")' in named


def test_what_goes_to_the_hub_is_the_model_and_not_what_lies_beside_it(folder):
    for name in ("run.json", "run.yaml", "report.html", "LICENSE", "own.py", "notes.docx"):
        (folder / name).write_text("x")
    for name in ("run/model", "evaluation", "checkpoint-3", ".git"):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")
    names = set(files_of(folder).files)
    assert {"README.md", "modules.json", "model.safetensors", "1_Pooling/config.json"} < names
    assert {"LICENSE", "own.py"} < names
    assert not {"run.json", "run.yaml", "report.html", "notes.docx"} & names
    assert not any(name.startswith(("run/", "evaluation/", "checkpoint", ".git")) for name in names)
    assert set(files_of(folder, has_run=True).files) - names == {
        "run.json", "run.yaml", "report.html"}  # fmt: skip


@pytest.fixture
def logged_in(hub, monkeypatch):  # noqa: F811
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return hub


def test_push_uploads_the_files_as_they_are(logged_in, folder, tmp_path, capsys):
    (folder / "report.html").write_text("texts of the data")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert main(["push", str(folder), NAME, "--private", "--yes", "-q"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{logged_in.endpoint}/{NAME}/commit/") and said.err == ""
    there = logged_in.files(NAME)
    assert logged_in.repos[NAME].private
    assert there["model.safetensors"] == before["model.safetensors"]
    assert "report.html" not in there
    assert f'SentenceTransformer("{NAME}")' in there["README.md"].decode()
    # The card in the folder is left as it was.
    assert (folder / "README.md").read_bytes() == before["README.md"]
    again = SentenceTransformer(NAME, token=TOKEN, cache_folder=str(tmp_path / "cache"))
    assert again.encode("a dog").shape == (32,)


def test_a_model_without_a_card_gets_one(logged_in, folder):
    (folder / "README.md").unlink()
    push(folder, NAME, token=TOKEN)
    assert f'SentenceTransformer("{NAME}")' in logged_in.files(NAME)["README.md"].decode()
    assert not (folder / "README.md").exists()


def test_what_is_there_is_replaced_only_if_asked(logged_in, folder, capsys):
    words = ["push", str(folder), NAME, "--yes"]
    assert main(words) == 0
    capsys.readouterr()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "--replace" in said and "--create-pr" in said and "exist_ok" not in said
    (folder / "LICENSE").write_text("do as you like")
    assert main([*words, "--replace", "--message", "Better"]) == 0
    assert logged_in.commits(NAME)[-1] == "Better"
    assert main([*words, "--revision", "next", "--replace"]) == 0
    assert "model.safetensors" in logged_in.files(NAME, "next")
    capsys.readouterr()
    assert main([*words, "--create-pr"]) == 0  # nothing differs, so none is made
    assert f"{NAME}/commit/" in capsys.readouterr().out
    (folder / "LICENSE").write_text("do as I like")
    assert main([*words, "--create-pr"]) == 0
    assert "/discussions/" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 1), ("", 1)])
def test_a_person_is_asked(answer, status, logged_in, folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    shown = io.StringIO()
    monkeypatch.setattr("sys.__stderr__", shown)
    assert main(["push", str(folder), NAME]) == status
    assert f"Upload {folder} (" in shown.getvalue() and f"to {NAME}? [y/N]" in shown.getvalue()
    assert (NAME in logged_in.repos) == (status == 0)


def test_without_a_person_nothing_happens_unless_confirmed(logged_in, folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main(["push", str(folder), NAME]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert NAME not in logged_in.repos


def test_what_is_no_model_or_no_name_is_refused(logged_in, folder, tmp_path):
    with pytest.raises(ModelFileError, match="there is no folder"):
        push(tmp_path / "nowhere", NAME)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFileError, match="is no model"):
        push(tmp_path / "empty", NAME)
    with pytest.raises(HubError, match="give owner/name"):
        push(folder, "no name at all")
    assert not logged_in.repos


def test_the_card_command_prints_or_writes(folder, tmp_path, capsys):
    assert main(["card", str(folder), "--new", "--name", "Nice"]) == 0
    assert "# Nice" in capsys.readouterr().out
    assert "# Nice" not in (folder / "README.md").read_text(encoding="utf-8")
    assert main(["card", str(folder), "--new", "--name", "Nice", "--write"]) == 0
    said = capsys.readouterr()
    assert said.out == "" and "README.md" in said.err
    assert "# Nice" in (folder / "README.md").read_text(encoding="utf-8")
    assert main(["card", "nobody/model", "--write"]) == 2
