"""What every test runs under: checked annotations, no rank promotion, one hypothesis profile."""

import collections
import functools
import gc
import importlib.metadata
import inspect
import os
import shutil
import tempfile
import types
from pathlib import Path
from typing import Any, Self, Union, get_args, get_origin, runtime_checkable

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
# Most of the tests' time is compilation.  With the emitters that it had before, jaxlib 0.10 compiles the solvers in .57
# of the time (jaxlib 0.12 has only the new ones, so that the two generations of jax try both); code that LLVM does not
# optimise takes two thirds of what is left, and rounds otherwise than a user's: CONTRIBUTING.md tells how to try both.
# In one piece it is emitted in four fifths of the time that it takes to cut a program for many threads: here each
# worker has one core.  Programs that a test starts inherit this.
os.environ["XLA_FLAGS"] = "".join(
    (
        "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1 ",
        "--xla_cpu_use_fusion_emitters=false " if importlib.metadata.version("jaxlib").startswith("0.10.") else "",
        os.environ.get("XLA_FLAGS", ""),  # of a flag that is given twice the last holds
    )
)

# What one process has compiled the others read: the workers, and the programs that tests start.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    PROGRAMS = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="programs-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
else:
    PROGRAMS = None

import beartype
import hypothesis
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from jax._src import compiler

jax.config.update("jax_numpy_rank_promotion", "raise")

# Tracing makes many objects that stay: looking for garbage among them every 700 takes an eighth of the time.
gc.set_threshold(50_000, 10, 10)

hypothesis.settings.register_profile("house", deadline=None, derandomize=True, database=None, max_examples=25)
hypothesis.settings.load_profile("house")

# Files that come before the others: those that take longest, because one that was started last would keep the other
# workers waiting; and before them those that look for whatever refers to a traced value, which is quick in a process
# that remembers little.
FIRST = (
    *("test_ird_sweep", "test_ird_sweep_damage", "test_ird_sweep_stores", "test_readme"),
    *(
        "test_examples_lavaland",
        "test_examples",
        "test_examples_studies",
        "test_mdps_bellman",
        "test_mdps_solvers",
        "test_ird_posterior_samplers",
        "test_ird_evidence_sharpness",
    ),
    *("test_docs", "test_ird_planning", "test_cirl_bounded", "test_ird_calibration"),
)


def pytest_unconfigure():
    """The process that made the folder of compiled programs removes it."""
    if PROGRAMS is not None:
        shutil.rmtree(PROGRAMS, ignore_errors=True)


def pytest_collection_modifyitems(items):
    """Whole files in the order of `FIRST`, then the others as they come (`make pytest` keeps this order)."""
    place = {name: i for i, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


_plain: list[bool] = []  # not empty: annotations are not looked at
_looked: collections.Counter = collections.Counter()  # how often a function's were, in this test
MOST_LOOKS = 4  # what comes after is most often alike, and looking takes a fifth of the tests' time
_jaxtyped = jaxtyping.jaxtyped
_beartype = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))  # an int is a float


def _checked(fn=None, *, typechecker):
    """Check the annotations of functions and methods, with two allowances.

    Pytrees are not checked where they are built: JAX rebuilds them with placeholders and with batch
    axes. And where an argument breaks its annotation, the function is run all the same: bad input
    must meet the error that a user would meet; only when there is none does the annotation's count.
    """
    if fn is None:
        return functools.partial(_checked, typechecker=typechecker)
    if inspect.isclass(fn):
        return runtime_checkable(fn) if getattr(fn, "_is_protocol", False) else fn
    fn.__annotations__ = {k: _meant(hint, k == "return") for k, hint in fn.__annotations__.items()}
    typed = _jaxtyped(fn, typechecker=_beartype)

    @functools.wraps(fn)
    def call(*args, **kwargs):
        __tracebackhide__ = True
        if _plain or _looked[fn] == MOST_LOOKS:
            return fn(*args, **kwargs)
        _looked[fn] += 1
        try:
            return typed(*args, **kwargs)
        except jaxtyping.TypeCheckError as error:
            if not hasattr(error, "seen"):
                error.seen = True
                fn(*args, **kwargs)
            raise

    return call


def _meant(hint, is_result: bool):
    """An annotation as it is meant: NumPy arrays are welcome where JAX arrays are, and not what one gets back."""
    if hint is Self:  # beartype knows it only where it decorates the class
        return Any
    if get_origin(hint) in (Union, types.UnionType):
        return Union[tuple(_meant(part, is_result) for part in get_args(hint))]  # noqa: UP007
    if not is_result and getattr(hint, "array_type", None) is jax.Array:
        return hint.dtype[jax.Array | np.ndarray, hint.dim_str]
    return hint


jaxtyping.jaxtyped = _checked
jaxtyping.install_import_hook(["mdps", "ird", "cirl"], "beartype.beartype")


@pytest.fixture(autouse=True)
def _look_anew():
    """Every test looks at the annotations of the functions that it calls."""
    _looked.clear()


@pytest.fixture
def unannotated():
    """Run the test without looking at annotations: as a user's program runs, and much sooner."""
    _plain.append(True)
    yield
    _plain.pop()


@pytest.fixture(scope="module")
def unannotated_throughout():
    """`unannotated` for every test of a file, and for what they share."""
    _plain.append(True)
    yield
    _plain.pop()


@pytest.fixture
def optimised(monkeypatch):
    """Run the test with optimised code, as a user's program runs: for what takes longer to run than to compile."""
    options_of = compiler.get_compile_options

    def optimised_options_of(*args, **kwargs):
        options = options_of(*args, **kwargs)
        debug = options.executable_build_options.debug_options
        debug.xla_backend_optimization_level = max(1, debug.xla_backend_optimization_level)
        return options

    monkeypatch.setattr(compiler, "get_compile_options", optimised_options_of)


@pytest.fixture
def x64():
    """Run the test in float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Run the test in float32 and in float64; the value is the dtype of `jnp.asarray(1.0)`."""
    with jax.enable_x64(request.param == "float64"):
        yield jnp.dtype(request.param)


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs():
    """After a file, forget what was compiled if it fills half of the mappings of memory that Linux gives a process.

    Each program takes some twenty of 65,530; a process that runs out of them crashes, wherever it is.
    """
    yield
    maps, most = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
    if most.exists() and len(maps.read_bytes().splitlines()) > int(most.read_text()) / 2:
        jax.clear_caches()
        gc.collect()
