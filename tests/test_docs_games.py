"""Every number on the pages about games is printed by a program: on the page, by an example, or by a benchmark."""

import json
import re
import sys

import numpy as np
import pytest
from test_docs import ABOUT_GAMES, FENCE, ROOT, blocks, elsewhere  # noqa: F401 — a fixture

from cirl.full_information import informed_values
from cirl.games import chefworld, private_off_switch

PAGES = {page.stem: page for page in ABOUT_GAMES}
NUMBER = re.compile(r"(?<![\w.^])[-−]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w^])")
FOUND = re.compile(r"(?<![\w.])[-−]?\d[\d,]*\.\d+")  # with a point: what is no count


def numbers(text, pattern=NUMBER):
    return [each.replace("−", "-").replace(",", "") for each in pattern.findall(text.replace(", ", " "))]


def printed(page):
    """What each line of the page's programs prints: (its number, its text, what it printed)."""
    said: dict[int, str] = {}

    def say(*words):
        line = sys._getframe(1).f_lineno
        said[line] = f"{said.get(line, '')} {' '.join(map(str, words))}"

    namespace = {"__name__": page.stem, "print": say}
    for line, program in blocks(page):
        exec(compile("\n" * line + program, str(page), "exec"), namespace)
    lines = page.read_text().splitlines()
    return [(line, lines[line - 1], text) for line, text in said.items()]


@pytest.fixture(scope="module")
def said():
    """What the programs of a page print; each page runs once."""
    known = {}

    def of(name):
        if name not in known:
            known[name] = printed(PAGES[name])
        return known[name]

    return of


def manifest(name):
    """What an example wrote when it was last run at its own settings."""
    return json.loads((ROOT / "docs/studies" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", PAGES)
def test_programs_print_the_numbers_that_the_page_says_they_print(name, said):
    for line, source, text in said(name):
        comment = source.partition("  # ")[2]
        missing = [x for x in numbers(comment) if x not in numbers(text)]
        assert not missing, f"{PAGES[name].name}, line {line} says {missing} and prints {text}"


def prose(name):
    return " ".join(FENCE.sub("", PAGES[name].read_text()).split())


def kitchen():
    made = manifest("cirl")["chefworld"]
    assert made["lower"] <= 1.5876 <= made["upper"]
    yield f"value, {made['lower']:.4f}, is that"
    assert manifest("cirl")["settings"]["episodes"] == 100_000
    yield "plays them 100,000 times"


def lava():
    made = manifest("lava_game")
    chosen, rows = made["settings"], {row["robot"]: row for row in made["results"]}
    literal, careful, asking = (rows[name] for name in ("literal", "careful", "cooperative"))
    told = lambda x: f"{x[0]:.2f} ± {x[1]:.2f}"  # noqa: E731
    yield f"Over {chosen['maps']} maps of {chosen['side']} × {chosen['side']} the cooperative robot is worth"
    yield f"worth {told(asking['expected'])} under the posterior when a question costs {chosen['cost']}"
    yield f"the literal plan {told(literal['expected'])}, the careful plan {told(careful['expected'])}."
    yield f"It asks {asking['asked'][0]:.2f} questions a map"
    yield f"lava at −1 a step, it enters lava on {asking['lava'][0]:.2f} of the maps and gets {asking['return'][0]:.2f}"
    yield f"the literal plan on {literal['lava'][0]:.2f} with {literal['return'][0]:.2f}"
    yield f"the careful plan on {careful['lava'][0]:.2f} with {careful['return'][0]:.2f}"
    yield f"leave a bound of {asking['reduction_bound'][0]:.1f} on what the reduction may cost"
    assert chosen["atoms"] == 6


def people():
    made = manifest("human_models")
    value = np.array(made["misspecification"]["value"])
    rational, expert = 0, made["misspecification"]["humans"].index("literal, an expert")
    most, own = value[:, rational].max(), value[:, expert].max()
    careful = value[1:, rational].min()
    yield f"loses a fifth ({value[rational, expert]:.4g} instead of {own:.4g})"
    yield f"give up a fifth ({careful:.4g} instead of {most:.4g}) with a rational human"
    found, best = made["teaching"]["found"], made["teaching"]["best"]
    games = found["games"]
    assert games == made["settings"]["games"] == 500
    same = games - found["worth more"] - found["worth less"]
    yield f"literal play in {found['worth more']}, the same in {same}, and less in {found['worth less']} "
    yield f"(mean gain {found['mean gain']:.3f} ± {found['standard error']:.3f} in reward)"
    yield f"is worth more in {best['worth more']}, less in {best['worth less']}, and "
    yield f"{best['mean gain']:.3f} ± {best['standard error']:.3f} more on average"


def tables(name):
    """The rows of a benchmark's tables, by their first cells, as long as these tell them apart."""
    lines = (ROOT / "benchmarks/results" / f"{name}.md").read_text().splitlines()
    rows = [[cell.strip(" *") for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    return {row[0]: row for row in rows}


def speed():
    rows = tables("cirl")
    few = [rows[str(n)] for n in (2, 3, 4, 5, 6)]
    warm, exact = ([float(row[k]) for row in few] for k in (3, 8))
    yield f"2 to 6 rewards | < 1e-3 | {min(warm)} to {max(warm)} ms, one backup: no growth with Θ; "
    yield f"exact in {min(exact)} to {max(exact)} ms"
    yield f"small kitchen, 12 rewards | < 1e-3 | {rows['12'][3]} ms, one backup"
    pots = [float(rows[f"ChefWorld, 6 recipes of 8 items, horizon {T}"][4]) for T in (4, 6, 8)]
    yield f"4 to 8 steps | < 0.1% | {min(pots):.2f} to {max(pots):.2f} s"
    garden = "apprenticeship, 10x10, 20 spots"
    plain, wide, slip, clumsy = (rows[each] for each in (garden, garden.replace("20", "100"), *_slips(garden)))
    yield f"10 × 10 cells, 20 rewards | {plain[3]} | {plain[4]} s"
    yield f"the same with 100 rewards | {wide[3]} | {wide[4]} s"
    yield f"the human slips one time in ten | {slip[3]} | {slip[4]} s"
    yield f"three times in ten | **{clumsy[3]}** | stopped at 120 s"
    assert float(clumsy[4]) >= 120
    lower, upper = map(float, clumsy[2].split(","))
    yield f"the lower bound stops at {lower:.3f} and the upper one stays at {upper:.3f}, where"
    yield f"two minutes and {int(clumsy[6]):,} backups"
    yield f"was measured at {few[3][9].split(', ')[0]} for it: {few[3][9].split()[-1].strip('*x')} times as long"
    peers = [rows[f"mini-ChefWorld, Θ = {n}"] for n in (2, 3, 4)]
    theirs, ours = ([float(row[k]) for row in peers] for k in (2, 3))
    yield f"took {theirs[0]:.2f}, {theirs[1]:.1f} and {theirs[2]:.1f} s for two, three and four rewards"
    yield f"`Bounded` took {min(ours):.2f} to {max(ours):.2f} s in the same process"


def _slips(garden):
    return f"{garden}, ε-greedy .1", f"{garden}, ε-greedy .3"


def debates():
    made = manifest("debate")
    rows, equal, small = made["by depth"], made["equal skill"], made["certificates"]["3"]
    assert made["settings"]["depth"] == 4 and small["leaves"] == 8
    able, fair = (rows[f"both of skill {skill}"][3] for skill in (5, 2))
    yield f"right with {able:.4f} at depth 4, of two of skill 2 with {fair:.4f}"
    yield f"coins leave {rows['both toss coins'][3]:.4f}"
    weak = rows["skill 2 against a perfect liar"]
    yield f"falls from {weak[0]:.4f} at depth 1 to {weak[3]:.4f}."
    yield f"the judge is right with {min(equal):.2f} to {max(equal):.2f} at depth 4"
    yield f"{small['mean']:.2f} on average, and for {small['one is enough']:.0%} of them a single leaf"


def secrets():
    made = manifest("off_switch")
    rows, search = made["at random"], made["search"]
    human, robot, seeing = (
        rows[f"a {x}"] for x in ("bit from the human", "bit from the robot", "robot that sees more")
    )
    assert all(row["paid less"] == 0 for row in rows.values())
    yield f"({human['games']:,} random games, each way"
    yield f"wait less in {human['waits less']:.1%} of the random games and more in {human['waits more']:.1%}, one"
    yield f"from the robot less in {robot['waits less']:.1%} and more in {robot['waits more']:.1%}"
    yield f"a robot that sees more waits less in {seeing['waits less']:.1%}."
    assert search["states"] == 5 and search["senders"]["the robot"] == 0
    yield f"tried {search['games']:,} games"
    yield f"found it in {search['found']}, always with the human sending"
    sender, utility, human_sees, robot_sees = search["by"]
    game = private_off_switch.one_bit()  # what the search found is what is kept
    assert sender == "the human" and game.utility.tolist() == utility
    assert game.human_sees.argmax(1).tolist() == human_sees and game.robot_sees.argmax(1).tolist() == robot_sees


STUDIES = {
    "kitchen": ("cirl", kitchen),
    "lava": ("cirl", lava),
    "people": ("cirl_humans", people),
    "speed": ("cirl_solvers", speed),
    "debates": ("oversight", debates),
    "secrets": ("oversight", secrets),
}


@pytest.mark.parametrize("study", STUDIES)
def test_sentences_about_a_study_are_what_its_program_wrote(study):
    page, sentences = STUDIES[study]
    missing = [sentence for sentence in sentences() if sentence not in prose(page)]
    assert not missing


ASSERTED = {
    "cirl": {"0.9", "1.71", "1.80495", "19.3711", "19.3721"},  # by test_cirl_games and test_cirl_bounded
    "cirl_humans": {"0.01"},  # an example of a small stake
    "cirl_solvers": {
        "0.9",  # by test_cirl_bounded
        "1.0",  # full information in the small kitchen: below
        "0.85",  # by test_cirl_pomcp
        "0.3",  # the ε of the last row
    },
    "encyclopedia": set(),
    "oversight": {"2504.18530", "1.5"},  # an address; by test_cirl_games_private_off_switch
}


@pytest.mark.parametrize("name", PAGES)
def test_no_other_number_with_a_point_is_on_the_page(name, said):
    known = {x for _, _, text in said(name) for x in numbers(text)} | ASSERTED[name]
    for page, sentences in STUDIES.values():
        if page == name:
            known |= {x for sentence in sentences() for x in numbers(sentence, FOUND)}
    assert not [x for x in numbers(prose(name), FOUND) if x not in known]


def test_full_information_would_promise_too_much_in_the_small_kitchen():
    game = chefworld.mini(3)
    q = np.asarray(informed_values(game))[0].max(axis=(1, 2))  # [S, Θ]
    assert float(np.asarray(game.mdp.initial) @ q @ np.asarray(game.prior)) == pytest.approx(1.0, abs=1e-5)
