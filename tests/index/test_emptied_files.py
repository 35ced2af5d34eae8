"""What an index does with a document whose file was emptied."""

import pytest

from sentune import Index
from sentune.errors import SentuneWarning


def test_adding_a_folder_again_drops_what_an_emptied_file_had(tmp_path, tiny_bert_folder):
    texts = tmp_path / "texts"
    texts.mkdir()
    for name in ("a", "b"):
        (texts / f"{name}.md").write_text(f"a cat and {name}")
    index = Index.build(tmp_path / "index", texts, str(tiny_bert_folder))
    assert {hit.id for hit in index.search("a cat")} == {"a.md", "b.md"}
    (texts / "b.md").write_bytes(b"")
    with pytest.warns(SentuneWarning, match="1 document is not in the index: the file is empty"):
        index.replace(texts)
    assert [hit.id for hit in index.search("a cat")] == ["a.md"]
