"""Every Python program in the README and on the pages of docs/ runs, page by page from the top."""

import re
import textwrap
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^(?P<indent> *)```(?:python|py)\b[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Of these test_docs_games runs the programs.
ABOUT_GAMES = [
    ROOT / "docs" / f"{name}.md" for name in ("cirl", "cirl_humans", "cirl_solvers", "oversight", "encyclopedia")
]
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


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda page: page.name
)
def test_no_line_of_code_is_cut_at_the_width_of_a_page(page):
    inside, long = False, []
    for line in page.read_text().splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        elif inside and len(line) > 80:
            long.append(line)
    assert not inside and not long


def test_the_navigation_holds_every_page_in_five_groups():
    nav = yaml.safe_load(re.search(r"^nav:.*?(?=^\w)", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE | re.DOTALL)[0])
    groups = {name: pages for group in nav["nav"] for name, pages in group.items()}
    assert list(groups) == ["Start", "How it works", "Studies", "At scale", "Reference"]
    listed = {path for pages in groups.values() for page in pages for path in page.values()}
    assert listed == {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}


ENTRIES = """Reward hacking; Specification gaming; Side effects; The four Goodharts; King Midas and the Monkey's Paw;
Sycophancy; Length, and other biases of preference data; Editing the test; Scheming, and the absent supervisor; Inverse
reinforcement learning; Supervised fine-tuning: demonstrations alone; Inverse reward design; Cooperative inverse
reinforcement learning; Learning from human feedback (RLHF); AI feedback and constitutional AI; Two layers: fine-tuning
and a reward model; Recursive reward modelling; Debate; Amplification; Process supervision; Deliberative alignment"""


def test_the_encyclopedia_has_every_entry_with_five_lines_at_most_and_what_is_left_out():
    page = ROOT / "docs/encyclopedia.md"
    found = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", page.read_text(), re.MULTILINE | re.DOTALL))
    assert set(found) == set(" ".join(ENTRIES.split()).split("; "))
    for name, text in found.items():
        programs = FENCE.findall(text)
        assert programs or name == "Inverse reward design", name  # whose program is Midas's
        for _, code in programs:
            lines = [line for line in code.splitlines() if line.strip() and not line.startswith("#")]
            assert len(lines) <= 5, f"{name}: {len(lines)} lines"
        assert "*Left out*: " in text, name
