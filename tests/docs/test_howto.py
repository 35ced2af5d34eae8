"""The code of every page of the documentation runs and prints what the page shows.

`tests/docs/pages.py` says what is run. The README is one of the pages.
"""

import os
import re
from pathlib import Path

import huggingface_hub
import pytest

from tests.docs import pages

ROOT = Path(__file__).parents[2]
HOWTO = sorted((ROOT / "docs" / "howto").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *HOWTO]
PAGES += sorted((ROOT / "benchmarks").glob("*.md"))
WITH_CODE = [
    page for page in PAGES if any(b.is_run for b in pages.blocks(page.read_text(encoding="utf-8")))
]


@pytest.fixture(scope="module")
def hub(minilm_folder, tiny_bert_folder, tmp_path_factory):
    """A cache with the models that the pages name, for this process and those it starts."""
    cache = tmp_path_factory.mktemp("hub")
    pages.make_hub(cache, {pages.MINILM: minilm_folder, "distilroberta-base": tiny_bert_folder})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(cache))
        patch.setenv("SENTUNE_DTYPE", "float32")  # the pages show the numbers of float32
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
        yield cache


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs_and_prints_what_the_page_shows(page, hub, tmp_path):
    assert pages.check(page, tmp_path) > 0


def test_the_pages_with_code_are_found():
    assert {page.stem for page in HOWTO} - {"README"} <= {page.stem for page in WITH_CODE}
    assert {"README", "losses"} <= {page.stem for page in WITH_CODE}
    assert len(HOWTO) > 10


def test_code_that_is_only_shown_says_why():
    found = {
        page.name
        for page in PAGES
        for block in pages.blocks(page.read_text(encoding="utf-8"))
        if block.language in ("python", "bash") and not block.is_run
    }
    # What needs an account, and what changes the environment.
    assert found == {"sharing.md", "sentence-transformers.md"}


def test_the_index_lists_every_howto_page_and_every_link_leads_somewhere():
    index = (ROOT / "docs" / "howto" / "README.md").read_text(encoding="utf-8")
    assert {f"({page.name})" for page in HOWTO} - {"(README.md)"} == set(
        re.findall(r"\([\w-]+\.md\)", index)
    )
    links = [
        (page, link.partition("#")[0])
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        if not link.startswith(("http", "#"))
    ]
    assert len(links) > 20
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


PAGE = """
# A page

```python
print("cosine", 0.66601, 2)
```

```
cosine 0.6660 2
```

- In a list:

  ```python
  values = [1.0]
  print(values)
  ```

  ```
  [1.0]
  ```

```python
# script.py
from math import pi

print(f"{pi:.3f}")
```

```bash
python script.py
```

```
3.142
```
"""


@pytest.fixture
def checked(tmp_path):
    def check(page):
        (tmp_path / "page.md").write_text(page)
        return pages.check(tmp_path / "page.md", tmp_path)

    return check


def test_a_page_that_is_right_passes(checked):
    before = os.getcwd()
    assert checked(PAGE) == 4
    assert os.getcwd() == before


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("cosine 0.6660 2", "cosine 0.6760 2"),  # a number
        ("cosine 0.6660 2", "cosine 0.6660 3"),  # a count, which is exact
        ("cosine 0.6660 2", "dot 0.6660 2"),  # a word
        ("cosine 0.6660 2", "cosine 0.6660 2 more"),
        ("  [1.0]\n", "  [2.0]\n"),
        ("3.142", "3.241"),
        ("```\n3.142\n```\n", ""),  # an output that is not shown
    ],
)
def test_a_page_that_shows_something_else_fails(checked, right, wrong):
    assert PAGE.count(right) == 1
    with pytest.raises(AssertionError, match=r"page\.md, line \d+, prints"):
        checked(PAGE.replace(right, wrong))


def test_code_that_fails_fails(checked):
    with pytest.raises(ZeroDivisionError):
        checked(PAGE.replace("values = [1.0]", "values = 1 / 0"))
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        checked(PAGE.replace("from math import pi", "pi = 1 / 0"))


def test_code_that_is_not_run_is_left_alone(checked):
    page = PAGE.replace("```python\nprint", "<!-- not run: no reason -->\n```python\nprint")
    assert checked(page.replace("0.6660", "0.9")) == 3
