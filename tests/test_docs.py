"""Every Python program in the README and on the pages of docs/ runs, page by page from the top."""

import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^(?P<indent> *)```(?:python|py)\b[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ABOUT_GAMES = [ROOT / "docs" / f"{name}.md" for name in ("cirl", "cirl_humans", "cirl_solvers")]  # test_docs_games
PAGES = [page for page in PAGES if FENCE.search(page.read_text()) and page not in ABOUT_GAMES]


def blocks(page):
    """(first line number, program) of each Python block of a page."""
    text = page.read_text()
    return [(text.count("\n", 0, m.start("code")), textwrap.dedent(m["code"])) for m in FENCE.finditer(text)]


def run(page):
    """Run the blocks of a page in one namespace and return it; line numbers in errors are the page's."""
    namespace = {"__name__": page.stem}
    for line, program in blocks(page):
        exec(compile("\n" * line + program, str(page), "exec"), namespace)
    return namespace


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Programs that save files do it in a directory of their own, and leave no figure open."""
    monkeypatch.chdir(tmp_path)
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_programs_on_the_page_run(page):
    run(page)


def test_links_between_pages_and_pictures_exist():
    missing = []
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                missing.append((page.name, target))
    assert not missing
