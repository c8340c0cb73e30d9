"""The house: what the wheel carries, what importing does, and how the files are laid out."""

import ast
import functools
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("mdps", "ird", "cirl")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
WRITTEN = (".py", ".md", ".toml", ".yml", ".cff", ".txt", ".json", "")
LONGEST = 450  # lines of one file, "about 400"


def tracked_files():
    """Files that git tracks; without git, all that are not build products."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        names = listed.decode().rstrip("\0").split("\0")
    except (OSError, subprocess.CalledProcessError):
        skip = {".git", ".venv", "build", "dist", "out", "site", "__pycache__"}
        paths = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
        names = [str(path) for path in paths if not skip & set(path.parts)]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def modules(package):
    top = importlib.import_module(package)
    names = [info.name for info in pkgutil.walk_packages(top.__path__, package + ".")]
    return [top, *map(importlib.import_module, names)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names of the files in a wheel built from this tree, without the network."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = out.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return archive.namelist()


def test_wheel_carries_the_three_packages_and_nothing_else(wheel):
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert not [name for name in wheel if "__pycache__" in name]


def test_wheel_carries_types_licence_and_maps(wheel):
    for package in PACKAGES:
        assert f"{package}/py.typed" in wheel
    maps = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "mdps" / "worlds").rglob("*.toml"))
    assert maps
    assert set(maps) <= set(wheel)
    assert [name for name in wheel if name.endswith("licenses/LICENSE")]


def test_version_is_stated_once_and_the_same():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert version in (ROOT / "CHANGELOG.md").read_text()


IMPORT = """
import json, sys
import mdps, ird, cirl
import ird.evidence, ird.planning, ird.posterior, ird.risk, ird.sweep
import mdps.graph, mdps.gridworld, mdps.interop, mdps.worlds, ird.interop
import jax
from jax._src import xla_bridge
print(json.dumps({
    "backends": sorted(xla_bridge._backends),
    "optional": sorted(
        {"matplotlib", "gymnasium", "minigrid", "arviz", "blackjax", "dask", "distributed", "rich", "xarray", "zarr"}
        & set(sys.modules)
    ),
    "x64": bool(jax.config.jax_enable_x64),
    "arrays": len(jax.live_arrays()),
}))
"""


def test_importing_touches_no_device_no_setting_and_no_extra():
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JAX_")}
    command = [sys.executable, "-W", "error", "-c", IMPORT]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"backends": [], "optional": [], "x64": False, "arrays": 0}


def test_posterior_is_a_module():
    import ird
    from ird import posterior

    assert posterior is importlib.import_module("ird.posterior")
    assert ird.posterior is posterior


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_hides_a_module_beside_it(package):
    for module in modules(package):
        parent = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
        beside = {info.name for info in pkgutil.iter_modules(importlib.import_module(parent).__path__)}
        for name in {n for n in beside if not n.startswith("_")} & set(vars(module)):
            assert vars(module)[name] is importlib.import_module(f"{parent}.{name}"), f"{module.__name__}.{name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_promised_is_there(package):
    for module in modules(package):
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{module.__name__}.{name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_dir_of_a_module_that_people_name_shows_what_it_offers_and_no_helpers(package):
    for module in modules(package):
        parts = module.__name__.split(".")
        if any(part.startswith("_") for part in parts) or "kernels" in parts or not hasattr(module, "__all__"):
            continue
        shown = {name for name in dir(module) if not name.startswith("__")}
        assert shown == {name for name in module.__all__ if not name.startswith("__")}, module.__name__
        own = {name for name, x in vars(module).items() if getattr(x, "__module__", None) == module.__name__}
        missing = {name for name in own if not name.startswith("_") and not name.isupper()} - set(module.__all__)
        assert not missing, f"{module.__name__} defines {missing}, which __all__ does not name"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_source_file_is_one_sitting_and_says_what_it_is(path):
    text = path.read_text()
    assert text.count("\n") <= LONGEST, "one file is one idea"
    assert ast.get_docstring(ast.parse(text)), "a module opens by saying what it is"
    assert path.stem not in {"utils", "core", "base", "helpers", "common", "misc"}


def test_imports_of_optional_packages_stay_inside_functions():
    optional = {"matplotlib", "gymnasium", "minigrid", "arviz", "blackjax", "rich", "scipy", "xarray", "zarr"} | {
        "dask",
        "distributed",
    }
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & optional, path


def test_no_file_names_a_place_on_someones_machine():
    # A home directory, a temporary directory, or the root of some working copy.
    place = re.compile(r"(?<![\w.~/:-])/(?:home|root|Users|tmp|work|mnt|opt|private)/[\w.-]+")
    found = {}
    for path in tracked_files():
        if path.suffix in WRITTEN and path.name != Path(__file__).name:
            hits = place.findall(path.read_text(encoding="utf-8", errors="replace"))  # chunks of a store have no suffix
            if hits:
                found[path.relative_to(ROOT).as_posix()] = hits
    assert not found


def test_pins_are_plain_and_cover_the_dependencies():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pin = re.compile(r'[a-z0-9-]+==[A-Za-z0-9.]+(; python_version (?:<|>=) "3\.12")?')
    assert not [line for line in lines if not pin.fullmatch(line)]
    pinned = {line.split("==")[0] for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(x for extra in project["optional-dependencies"].values() for x in extra)]
    names = {re.match(r"[A-Za-z0-9._-]+", requirement)[0] for requirement in wanted} - {project["name"]}
    assert names <= pinned


def test_continuous_integration_calls_make_test_and_nothing_else():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not line.startswith(("set ", "cd "))] == ["exec make test"]


def test_make_help_lists_the_targets():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in (
        "lavaland",
        "lavaland-study",
        "samplers",
        "correlated-study",
        "normalizers-study",
        "test",
        "bench",
        "docs",
        "wheel",
        "clean",
    ):
        assert re.search(rf"^\s+{target}\s", shown, re.MULTILINE), target


def imported_by(path):
    """Names of modules of the same package that a file imports when it is itself imported."""
    package = path.relative_to(ROOT).parts[0]
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if name_exists(inner) else node.module
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == package)


def name_exists(module):
    place = ROOT.joinpath(*module.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def room(module):
    """What a module lies in: the flat module itself, or the folder."""
    return ".".join(module.split(".")[:2])


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_inside_a_package_point_one_way(package):
    files, rooms = networkx.DiGraph(), networkx.DiGraph()
    for path in (path for path in SOURCES if path.relative_to(ROOT).parts[0] == package):
        me = module_of(path)
        if me == package:
            continue  # the door of all
        for other in imported_by(path):
            assert other != package, f"{me} imports from the package's own door; name the module"
            files.add_edge(me, other)
            if room(me) != room(other):
                rooms.add_edge(room(me), room(other))
    assert files.number_of_edges() > 20
    for graph in (files, rooms):
        assert networkx.is_directed_acyclic_graph(graph), networkx.find_cycle(graph)


@pytest.mark.parametrize("package", PACKAGES)
def test_few_modules_lie_flat_and_private_ones_stay_in_their_room(package):
    flat = [path.stem for path in (ROOT / package).glob("*.py") if path.stem != "__init__"]
    assert len(flat) <= 12, sorted(flat)
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
                modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                for private in (m for m in modules if "._" in m and name_exists(m)):
                    assert module_of(path).startswith(private.partition("._")[0]), f"{path} reaches into {private}"


# A question in the field's words, the file where a newcomer would look first, and what is defined there.
WHERE = [
    ("the dual of CVaR", "ird/risk.py", "class CVaR"),
    ("occupancy", "mdps/policies.py", "def occupancy"),
    ("the soft Bellman backup", "mdps/bellman.py", "def backup"),
    ("tie-breaking", "mdps/bellman.py", "def tie_slack"),
    ("the rounding of one backup", "mdps/bellman.py", "def rounding_of"),
    ("value iteration", "mdps/value_iteration.py", "def endless"),
    ("policy evaluation", "mdps/policy_evaluation.py", "def evaluate"),
    ("feature expectations of an optimal policy", "mdps/optimal_features.py", "def optimum"),
    ("several MDPs as one", "mdps/mdp/_stack.py", "def stack"),
    ("one MDP over many devices", "mdps/mdp/_shard.py", "def shard"),
    ("map parsing", "mdps/gridworld/_maps.py", "def parse"),
    ("the four moves", "mdps/gridworld/_moves.py", "MOVES"),
    ("what kernels may rely on", "mdps/kernels/layout.py", "class Layout"),
    ("how vmap becomes one batch", "mdps/kernels/batching.py", "def batch_last"),
    ("what the compiler has to be told", "mdps/kernels/xla.py", "def unfused"),
    ("gymnasium's tables", "mdps/interop/_gymnasium.py", "def from_gymnasium"),
    ("how a batch is cut into blocks", "ird/blocks.py", "def in_blocks"),
    ("the off-switch likelihood", "ird/evidence/off_switch.py", "class OffSwitch"),
    ("Boltzmann-rational demonstrations", "ird/evidence/demonstration.py", "class RationalDemonstration"),
    ("double Metropolis-Hastings", "ird/posterior/_exchange.py", "def exchange"),
    ("Laplace", "ird/posterior/_laplace.py", "def laplace"),
    ("sequential Monte Carlo", "ird/posterior/_smc.py", "def smc"),
    ("NUTS", "ird/posterior/_nuts.py", "def nuts"),
    ("exact enumeration", "ird/posterior/_exact.py", "def exact"),
    ("the class Posterior", "ird/posterior/_posterior.py", "class Posterior"),
    ("R-hat", "ird/diagnostics.py", "def r_hat"),
    ("Pareto k", "ird/diagnostics.py", "def pareto_k"),
    ("Fisher information of evidence", "ird/evidence/fisher.py", "def told"),
    ("the best of options without a table", "ird/planning/_options.py", "def choose_option"),
    ("a proxy without a table", "ird/evidence/proxy.py", "def from_features"),
    ("what errors of rollouts do to evidence", "ird/evidence/rollouts.py", "class SumOverRollouts"),
    ("what runs in gymnasium collect", "ird/interop/gymnasium/_rollouts.py", "def rollouts"),
    ("paying an agent what a belief says", "ird/interop/gymnasium/_wrappers.py", "def RewardWrapper"),
    ("what a visit is paid", "ird/planning/_pay.py", "def pay_least_exposure"),
    ("the plan of least exposure", "ird/planning/_least_exposure.py", "def plan_least_exposure"),
    ("the frontier of caution", "ird/planning/_frontier.py", "def frontier"),
    ("a plan in words", "ird/planning/_explain.py", "def explain"),
    ("what is unknown about a visit", "ird/planning/_unknown.py", "def unknown"),
    ("the distance of two rewards (STARC)", "ird/alignment/_geometry.py", "def distance"),
    ("EPIC", "ird/alignment/_pearson.py", "def epic"),
    ("whether a reward can be hacked", "ird/alignment/_hackable.py", "def hackable"),
    ("what a plan loses", "ird/alignment/_regret.py", "def regret"),
    ("relative reachability", "ird/impact/_deviations.py", "def relative_reachability"),
    ("the price of a penalty", "ird/impact/_price.py", "def price"),
    ("the early stop", "ird/goodhart/_ascent.py", "def stop"),
    ("best-of-n", "ird/goodhart/_selection.py", "def best_of"),
    ("the variants of Goodhart's law", "ird/goodhart/_variants.py", "def extremal"),
    ("which Goodhart is this", "ird/goodhart/_diagnose.py", "def diagnose"),
    ("worlds by others", "mdps/worlds/_families.py", "def families"),
    ("a simulator as a table", "mdps/worlds/_explore.py", "def explore"),
    ("a room that somebody has left", "mdps/worlds/rooms.py", "class Room"),
    ("a world with a hidden reward", "mdps/worlds/safety/_world.py", "class World"),
    ("the careful plan per step", "ird/planning/_per_step.py", "def plan_per_step"),
    ("the offset that returns are measured from", "ird/planning/_offsets.py", "def training_offset"),
    ("what knowing the reward is worth, and what to ask", "ird/information/_value.py", "def value_of_information"),
    ("rewriting a reward", "ird/information/_rewrite.py", "def rewrite"),
    ("which query to ask", "ird/queries/_choose.py", "def choose"),
    ("the resumable store", "ird/sweep/stores.py", "class Store"),
    ("blocks on an executor", "ird/sweep/engines.py", "class Engine"),
    ("what a worker of a pool does", "ird/sweep/workers.py", "def work"),
    ("a sweep that grows", "ird/sweep/growth.py", "def extend_store"),
    ("a function over cases", "ird/sweep/cases.py", "def map"),
    ("the Boltzmann human", "cirl/human.py", "class Boltzmann"),
    ("the adapted backup", "cirl/bounded/_lower.py", "def best_plan"),
    ("alpha vectors", "cirl/bounded/_alpha_vectors.py", "class Bounds"),
    ("the sawtooth bound", "cirl/bounded/_sawtooth.py", "def interpolate"),
    ("a posterior as a few rewards", "cirl/belief_reduction.py", "def reduce_belief"),
    ("the policy graph", "cirl/policy_graph/_policy_graph.py", "class PolicyGraph"),
    ("subgame consistency", "cirl/exact/_subgame_consistent.py", "def best_replies"),
    ("an off-switch with secrets", "cirl/games/private_off_switch.py", "def game"),
    ("amplification", "cirl/oversight/amplification.py", "def amplify"),
    ("a rule kept as a constraint", "cirl/oversight/principles.py", "def forbid"),
    ("debate", "cirl/oversight/debate.py", "def accuracy"),
    ("Cassandra's file format", "cirl/pomdp/_format.py", "def parse"),
]


@pytest.mark.parametrize(("question", "file", "definition"), WHERE, ids=[row[0] for row in WHERE])
def test_what_is_looked_for_is_where_its_name_says(question, file, definition):
    text = (ROOT / file).read_text()
    assert re.search(rf"^\s*{re.escape(definition)}\b", text, re.MULTILINE), f"{question}: no {definition} in {file}"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_means_one_thing_in_a_package(package):
    # A game is called by its module's name, `tiger.game()`; dunders and rules of JAX have no choice.
    taken, allowed = {}, {"_", "__getattr__", "__dir__", "__all__"}
    for path in (path for path in SOURCES if path.relative_to(ROOT).parts[0] == package):
        if path.parent.name == "games":
            continue
        for node in ast.parse(path.read_text()).body:
            names = [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
            if isinstance(node, ast.Assign):
                names = [name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
            for name in set(names) - allowed:
                assert name not in taken, f"{name} stands in {taken[name]} and in {path}"
                taken[name] = path


def body_lines(function, text):
    """Lines of a function from the end of its docstring on, the signature's left out."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return function.end_lineno - body[0].lineno + 1 if body else 0


def test_a_function_is_one_step():
    long = {}
    for path in SOURCES:
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and body_lines(node, text) > 60:
                long[f"{path.relative_to(ROOT)}:{node.name}"] = body_lines(node, text)
    assert not long


NAMED = re.compile(
    r"(?<![\w./-])((?:mdps|ird|cirl|examples|benchmarks|tests|fuzz|docs)(?:/[\w.-]+)*/[\w-]+\.\w+)(?![\w*])"
)
DOTTED = re.compile(r"(?<![\w./-])((?:mdps|ird|cirl)(?:\.[A-Za-z_]\w*)+)")


def texts_that_name_things():
    """Docstrings and comments of code, comments of TOML files, and pages; the CHANGELOG alone tells what was."""
    for path in tracked_files():
        name = path.relative_to(ROOT).as_posix()
        if path.suffix == ".md" and path.name != "CHANGELOG.md":
            yield name, path.read_text()
        elif path.suffix == ".toml":
            yield name, "\n".join(line for line in path.read_text().splitlines() if line.lstrip().startswith("#"))
        elif path.suffix == ".py" and name.split("/")[0] != "tests":
            text = path.read_text()
            strings = (n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant))
            comments = re.findall(r"(?m)#.*$", text)
            yield name, "\n".join([*(s for s in strings if isinstance(s, str)), *comments])


@functools.cache
def reach(dotted):
    """The module or attribute of this name, imported as far as it goes."""
    parts = dotted.split(".")
    for i in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:i]))
        except ModuleNotFoundError:
            continue
        for part in parts[i:]:
            thing = getattr(thing, part, None) or getattr(thing, "__dataclass_fields__", {})[part]
        return thing
    raise KeyError(dotted)


def test_what_a_page_or_a_docstring_names_is_there():
    wrong = []
    for where, text in texts_that_name_things():
        for path in set(NAMED.findall(text)):
            beside = (ROOT / where).parent / path
            if not (ROOT / path).exists() and not beside.exists():
                wrong.append(f"{where} names {path}")
        for dotted in set(DOTTED.findall(text)):
            try:
                reach(dotted)
            except (KeyError, ImportError):
                wrong.append(f"{where} names {dotted}")
    assert not wrong, "\n".join(sorted(wrong))


def test_a_file_of_tests_bears_the_name_of_what_it_tests():
    """A module's path, or a folder's, perhaps with what of it is tested behind; else what is tested is no module."""
    modules = {module_of(path).replace("._", ".").replace(".", "_") for path in SOURCES}
    others = {"house", "docs", "readme", "fuzz", "examples", "bad_input", "device_programs"}
    stray = []
    for path in (ROOT / "tests").glob("test_*.py"):
        name = path.stem.removeprefix("test_")
        prefixes = {"_".join(name.split("_")[:i]) for i in range(1, len(name.split("_")) + 1)}
        if not prefixes & ((modules - set(PACKAGES)) | others):
            stray.append(path.name)
    assert not stray
