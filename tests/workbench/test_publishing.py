"""`card` and `push`: a card of what is recorded, and what of a folder goes to the Hub."""

import io
import json

import pytest
from datasets import Dataset

from sentune import SentenceTransformer, SentenceTransformerTrainer
from sentune import SentenceTransformerTrainingArguments as Arguments
from sentune.cli import main
from sentune.errors import HubError, ModelFileError
from sentune.losses import MultipleNegativesRankingLoss
from sentune.share.mark import is_untouched
from sentune.share.rows import rows_shown, without_rows
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


PRIVATE = (".env.json", "customers.json", "questions.txt", "data/rows.json", "train.py", "notes.md")


def put(folder, *names, text="x"):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_what_goes_to_the_hub_is_the_model_and_not_what_lies_beside_it(folder):
    put(folder, "run.json", "run.yaml", "report.html", "notes.docx", *PRIVATE)
    for name in ("run/model", "evaluation", "checkpoint-3", ".git"):
        put(folder, f"{name}/config.json", text="{}")
    found = files_of(folder)
    names = set(found.files)
    assert names == {
        "README.md", "modules.json", "model.safetensors", "config.json", "1_Pooling/config.json",
        "config_sentence_transformers.json", "sentence_bert_config.json", "tokenizer.json",
        "tokenizer_config.json"}  # fmt: skip
    assert {"customers.json", "data/", "checkpoint-3/", "report.html"} <= set(found.left)
    assert "stays here: " in found.details() and "customers.json" in found.details()
    assert set(files_of(folder, has_run=True).files) - names == {
        "run.json", "run.yaml", "report.html"}  # fmt: skip


def test_licenses_notices_pictures_and_exports_go_with_the_model(folder):
    papers = ("LICENSE", "LICENSE-MODEL", "NOTICE.md", "USE_POLICY.md", "THIRD-PARTY-NOTICES.txt")
    exports = ("onnx/model.onnx", "onnx/config.json", "openvino/openvino_model.xml")
    put(folder, *papers, *exports, "pictures/figure.png", "other.png", "openvino/data.csv")
    card = (folder / "README.md").read_text(encoding="utf-8")
    put(folder, "README.md", text=f"{card}\n![a figure](pictures/figure.png)\n")
    found = files_of(folder)
    assert {*papers, *exports, "pictures/figure.png"} <= found.files.keys()
    assert set(found.left) == {"other.png", "openvino/data.csv"}


def test_of_code_only_what_the_model_names_goes(folder):
    put(folder, "modeling.py", text="from .helper import x\nfrom . import more\n")
    put(folder, "helper.py", "more.py", "train.py")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "modeling.Model", "AutoConfig": "them/else--other.Config"}
    put(folder, "config.json", text=json.dumps(config))
    names = set(files_of(folder).files)
    assert {"modeling.py", "helper.py", "more.py"} <= names and "train.py" not in names


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


ROW = "a dog"


def test_the_rows_that_the_card_shows_are_said_and_can_be_left_out(
    logged_in, trained, capsys, monkeypatch
):
    text = (trained / "README.md").read_text(encoding="utf-8")
    assert ROW in text and ROW not in card(trained, has_rows=False)
    assert "8 rows" in card(trained, has_rows=False)
    shown = io.StringIO()
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    monkeypatch.setattr("sys.__stderr__", shown)
    assert main(["push", str(trained), NAME]) == 1
    assert "the card shows 5 rows of the training data" in shown.getvalue()
    assert main(["push", str(trained), NAME, "--yes", "--no-rows"]) == 0
    said = capsys.readouterr().err
    there = logged_in.files(NAME)["README.md"].decode()
    assert ROW not in there and "rows of the training data" not in said
    assert is_untouched(there) and "8 rows" in there
    assert main(["card", str(trained), "--no-rows"]) == 0
    assert ROW not in capsys.readouterr().out


def test_rows_in_cards_of_sentence_transformers_are_left_out_too():
    text = "* Samples:\n  | a | b |\n  |:--|:--|\n  | my text | 1 |\n* Loss: x\n"
    assert rows_shown(text) == 1
    assert without_rows(text) == "* Loss: x\n"
    front = (
        f"---\ntags:\n- a\nwidget:\n- source_sentence: my text\n  sentences:\n  - b\n---\n{text}"
    )
    assert without_rows(front) == "---\ntags:\n- a\n---\n* Loss: x\n"


def test_an_adapter_for_a_folder_of_this_machine_is_not_pushed(logged_in, folder):
    (folder / "config.json").rename(folder / "base.json")
    place = str(folder / "somewhere")
    put(folder, "adapter_config.json", text=json.dumps({"base_model_name_or_path": place}))
    with pytest.raises(ModelFileError, match="nobody else could load it.*merge the adapter"):
        push(folder, NAME)
    assert not logged_in.repos
    put(folder, "adapter_config.json", text=json.dumps({"base_model_name_or_path": "owner/base"}))
    push(folder, NAME)


def test_a_card_that_was_changed_by_hand_is_only_added_to(trained):
    readme = trained / "README.md"
    readme.write_text(
        readme.read_text(encoding="utf-8").replace("This model maps", "Our model maps"),
        encoding="utf-8",
    )
    assert main(["card", str(trained), "--write", "--license", "mit", "--name", "Ours"]) == 0
    text = readme.read_text(encoding="utf-8")
    assert "Our model maps" in text and "license: mit" in text and "\n# Ours\n" in text
    assert main(["card", str(trained), "--write", "--new"]) == 0
    text = readme.read_text(encoding="utf-8")
    assert "This model maps" in text and "license: mit" in text and "8 rows" in text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--language", "english"], "no code of a language"),
        (["--dataset", "not an id!"], "no id of a dataset"),
        (["--id", "foo"], "is owner/name, got 'foo'"),
        (["--id", "them/other"], "has an address in its code already"),
    ],
)
def test_what_a_card_cannot_say_is_an_error(given, says, folder, capsys):
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8").replace("path/to/this/model", "me/mine")
    readme.write_text(text, encoding="utf-8")
    assert main(["card", str(folder), "--write", *given]) == 2
    assert says in capsys.readouterr().err
    assert readme.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"---\nlicense: [apache\n---\nmine", "front of README.md cannot be read"),
        (b"---\n- a\n---\nmine", "front of README.md cannot be read"),
        ("café".encode("latin-1"), "must be in UTF-8"),
    ],
)
def test_a_card_that_cannot_be_read_stays(content, says, logged_in, folder, capsys):
    (folder / "README.md").write_bytes(content)
    assert main(["card", str(folder), "--write", "--license", "mit"]) == 2
    assert says in capsys.readouterr().err
    assert (folder / "README.md").read_bytes() == content
    assert main(["push", str(folder), NAME, "--yes"]) == 2
    assert "README.md" in capsys.readouterr().err
    assert not logged_in.repos


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe\x00", b"[1, 2]", b"{"])
def test_a_record_that_cannot_be_read_is_said(content, folder, capsys, caplog):
    (folder / "run.json").write_bytes(content)
    assert main(["card", str(folder), "--new"]) == 0
    assert "says nothing of the training" in caplog.text
    assert main(["info", str(folder)]) == 0
    assert "run.json cannot be read" in capsys.readouterr().out


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
