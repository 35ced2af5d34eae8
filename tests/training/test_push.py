"""What a trainer sends to the Hub: the model as it is on disk, and no file that may run code."""

import pytest
from huggingface_hub import HfApi
from transformers.trainer import TRAINING_ARGS_NAME

from sentune.encoder.sentence_transformers import SentenceTransformer
from tests.share.test_push import NAME, TOKEN, hub, vectors  # noqa: F401  # a fixture
from tests.training.tools import trainer


@pytest.mark.parametrize(
    ("strategy", "folder"),
    [("end", None), ("every_save", None), ("checkpoint", "last-checkpoint"),
     ("all_checkpoints", "checkpoint-2")],
)  # fmt: skip
def test_no_pickle_of_the_arguments_is_pushed(
    strategy,
    folder,
    tiny_model,
    tmp_path,
    hub,  # noqa: F811
    monkeypatch,
):
    # transformers keeps its client, and with it the place of the Hub.
    monkeypatch.setattr("transformers.utils.hub._hf_api", None, raising=False)
    run = trainer(
        tiny_model,
        tmp_path / "out",
        push_to_hub=True,
        hub_model_id=NAME,
        hub_token=TOKEN,
        hub_strategy=strategy,
        hub_always_push=True,
        save_strategy="steps",
        save_steps=2,
    )
    # As after a run of another library in the same folder.
    (tmp_path / "out" / TRAINING_ARGS_NAME).write_bytes(b"a pickle")
    run.train()
    if run.push_in_progress is not None:
        run.push_in_progress.wait_until_done()
    during = set(HfApi(token=TOKEN).list_repo_files(NAME))
    run.push_to_hub()
    names = set(HfApi(token=TOKEN).list_repo_files(NAME))
    assert {"modules.json", "1_Pooling/config.json", "model.safetensors", "README.md"} <= names
    assert ("modules.json" in during) == (strategy != "end")
    assert "training_args.json" in names
    assert not [name for name in names | during if name.endswith(TRAINING_ARGS_NAME)]
    assert (f"{folder}/trainer_state.json" in names) == (folder is not None)
    loaded = SentenceTransformer(NAME, token=TOKEN, cache_folder=str(tmp_path / "cache"))
    assert abs(vectors(loaded) - vectors(tiny_model)).max() < 1e-6
