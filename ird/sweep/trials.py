"""What a trial is: traced by itself, once per choice of the static axes, before anything is compiled.

From the trace follow the fields of its results, whether it is a pure function of its key and settings,
and a digest of the program, which is the code version of a store: it changes with anything that
changes what is computed, in the trial or in what it calls, and with nothing else.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

from ird.sweep.axes import Axes, brief, label
from ird.sweep.fields import Field, check_results, fields_of
from ird.sweep.given import NOTHING, Cases, Given
from ird.sweep.purity import in_other_states, watched

__all__ = ["Inputs", "Trial", "check_key", "examine", "is_key", "retrace"]
__dir__ = __all__.copy

BATCHED = "threefry2x32"  # the generator of which a batch of keys draws what each key draws alone


@dataclass(frozen=True)
class Inputs:
    """What a trial gets besides its static settings, by shape and type.

    Attributes:
        key: the dtype of its key.
        settings: pytrees by the name of the argument: a number for each setting, or one case of a map.
        given: what is the same for every trial.
        whole: whether the trial takes `given` in one piece.
    """

    key: Any
    settings: dict[str, Any]
    given: Any
    whole: bool = False

    @classmethod
    def of(cls, axes: Axes, key: Any, given: Given, cases: Cases | None) -> "Inputs":
        """The inputs of the trials of a sweep."""
        settings = {name: jax.ShapeDtypeStruct((), values.dtype) for name, values in axes.traced.items()}
        own = {} if cases is None else {axes.last: cases.shapes}
        return cls(key.dtype, settings | own, given.shapes, given.whole)

    @property
    def described(self) -> tuple[str, ...]:
        """Shape and type of each array, in words."""
        leaves = jax.tree_util.tree_flatten_with_path((self.settings, self.given))[0]
        return tuple(f"{jax.tree_util.keystr(path)} {x.dtype}{list(x.shape)}" for path, x in leaves)

    def call(
        self, trial: Callable, key: Any, static: Mapping[str, Any], settings: Mapping[str, Any], given: Any
    ) -> Any:
        """What the trial returns."""
        return trial(key, **static, **settings, **({"given": given} if self.whole else given))


@dataclass(frozen=True)
class Trial:
    """A trial that has passed its checks.

    Attributes:
        call: the function, `call(key, **settings)`.
        fields: what it returns, in order.
        digests: digest of the program of each choice of the static axes.
        programs: those programs, as they were traced: what is computed is what was checked.
        inputs: what it gets, by shape and type.
    """

    call: Callable
    fields: tuple[Field, ...]
    digests: tuple[str, ...]
    programs: tuple[Any, ...] = ()
    inputs: Inputs = Inputs(None, {}, {})

    def results(
        self, combination: int, key: Any, static: Mapping[str, Any], settings: Mapping[str, Any], given: Any
    ) -> Any:
        """The trial's results by the name of their field, for one choice of the static axes."""
        inputs = jax.tree.leaves((key, dict(settings), given))
        program = self.programs[combination] if self.programs else None
        if program is not None and len(program.in_avals) == len(inputs):
            found = jaxpr_as_fun(program)(*inputs)
        else:  # a generation of jax that hands over constants as inputs: trace anew
            found = jax.tree.leaves(self.inputs.call(self.call, key, static, settings, given))
        return {field.name: x for field, x in zip(self.fields, found, strict=True)}

    @property
    def largest_array(self) -> int:
        """Bytes of the largest array that a trial computes; at least one number's."""
        return max(8, *map(_largest, self.programs), 8)

    @property
    def digest(self) -> str:
        """The code version: a digest of all its programs."""
        return hashlib.sha256("".join(self.digests).encode()).hexdigest()


def examine(
    trial: Callable,
    axes: Axes,
    key: Any,
    dims: Mapping[str, tuple[str, ...]],
    platform: str,
    given: Given = NOTHING,
    cases: Cases | None = None,
) -> Trial:
    """Trace a trial twice for each choice of the static axes, and refuse what cannot be repeated or stored.

    Raises:
        ValueError: for a trial that is not pure, draws with a generator that depends on how many trials are computed
            at once, uses a traced setting's value, returns nothing or what is no array, or returns other fields for
            other static settings.
    """
    fields: tuple[Field, ...] = ()
    digests, programs, first = [], [], axes.combinations[0]
    inputs = Inputs.of(axes, key, given, cases)
    for static in axes.combinations:
        traced, text = _pure(trial, inputs, static, platform)
        found = fields_of(trial, traced.out_info, dims, axes)
        fields = fields or found
        _check_same_fields(trial, fields, found, first, static)
        digests.append(_code_version(text))
        programs.append(traced.jaxpr)
    unknown = [name for name in dims if name not in {field.name for field in fields}]
    if unknown:
        known = ", ".join(field.name for field in fields)
        raise ValueError(f"dims names {unknown[0]!r}, which {label(trial)} does not return; its fields are {known}.")
    return Trial(trial, fields, tuple(digests), tuple(programs), inputs)


def retrace(
    trial: Callable, inputs: Inputs, fields: Sequence[Field], static: Mapping[str, Any], platform: str
) -> Trial:
    """The trial for one choice of the static axes, which has been examined before, perhaps in another process."""
    traced = _trace_trial(trial, inputs, static)
    text = _text(trial, traced, platform)
    return Trial(trial, tuple(fields), (_code_version(text),), (traced.jaxpr,), inputs)


def _code_version(text: str) -> str:
    """The digest of a program in words."""
    return hashlib.sha256(text.encode()).hexdigest()


def _pure(trial: Callable, inputs: Inputs, static: Mapping[str, Any], platform: str) -> tuple[Any, str]:
    """The program of one trial, traced and in words, once it is known to follow from key and settings alone.

    Raises:
        ValueError: naming what else it depends on.
    """
    impure = f"{label(trial)} is not pure: "
    with watched(__name__) as seen:
        traced = _trace_trial(trial, inputs, static)
    text = _text(trial, traced, platform)
    with jax.checking_leaks():
        twice = _trace_trial(trial, inputs, static)
    again = _text(trial, twice, platform)
    if text != again:
        known = f"; it {seen.what or seen.draws}" if seen.what or seen.drawn else ""
        raise ValueError(
            f"{impure}traced twice{_for(static)}, it gave two programs, so it depends on something besides its key and "
            f"settings (NumPy's random numbers, the clock, a variable it changes{known}). Draw from its key with "
            f"jax.random. The first difference:\n{_difference(text, again)}"
        )
    if seen.what:
        raise ValueError(
            f"{impure}while it is traced{_for(static)}, it {seen.what}, so it may give other numbers each time it is "
            "run. Draw from its key with jax.random, and give all else as a setting."
        )
    if seen.drawn:
        with in_other_states() as states:
            other = _text(trial, _trace_trial(trial, inputs, static), platform)
            left = {name: state for name, state in states().items() if name in seen.drawn}
        if other != text or left != seen.drawn:  # else it seeds the generator itself, always alike
            raise ValueError(
                f"{impure}while it is traced{_for(static)}, it {seen.draws}, whose numbers depend on what was drawn "
                "before. Draw from its key with jax.random."
            )
    return traced, text


def _trace_trial(trial: Callable, inputs: Inputs, static: Mapping[str, Any]) -> Any:
    """The program of one trial, as JAX has traced it."""

    def one(key, settings, given):  # a new function each time, so that JAX traces anew
        out = inputs.call(trial, key, static, settings, given)
        check_results(trial, out)
        return out

    try:
        return jax.jit(one).trace(jax.ShapeDtypeStruct((), inputs.key), inputs.settings, inputs.given)
    except Exception as error:
        said = str(error)
        if said.startswith("Leaked"):
            raise ValueError(
                f"{label(trial)} is not pure: it keeps a traced value in a variable that outlives the call. Return "
                f"what is wanted instead. JAX says:\n{said}"
            ) from error
        blamed = re.search(r"value of the argument settings\['(\w+)'\]", said)
        if blamed or isinstance(error, jax.errors.ConcretizationTypeError | jax.errors.NonConcreteBooleanIndexError):
            raise ValueError(
                f"{label(trial)} needs {f'the value of {blamed[1]!r}' if blamed else 'a value'} while it is being "
                "compiled (for a shape, an `if` or a Python number): give that setting in static= instead of grid, or "
                f"use jnp.where and jax.lax. JAX says: {said.splitlines()[0]}"
            ) from error
        raise


def _text(trial: Callable, traced: Any, platform: str) -> str:
    """A program in words, all its constants included, once it is known to depend on its inputs alone."""
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    if traced.jaxpr.effects or re.search(r"custom_call @\S*callback", text):
        raise ValueError(
            f"{label(trial)} calls back into Python (jax.debug.print, io_callback or pure_callback), which a sweep "
            "can neither repeat nor check, and which stops an accelerator. Return what is wanted instead; to debug, "
            "call the trial by itself."
        )
    if re.search(r"stablehlo\.rng(_bit_generator)?\b", text):
        raise ValueError(
            f"{label(trial)} draws with a generator whose numbers depend on how many trials are computed at once (a "
            f'key of impl="rbg" or "unsafe_rbg", or lax.rng_uniform). Draw from its own key, or from '
            f"jax.random.key(seed, impl={BATCHED!r})."
        )
    if getattr(jax.config, "jax_use_simplified_jaxpr_constants", True):  # which leaves large ones out of the text
        digest = hashlib.sha256()
        for constant in _constants(traced.jaxpr):
            bare = np.asarray(jax.random.key_data(constant) if _is_keys(constant) else constant)
            digest.update(f"{bare.dtype}{bare.shape}".encode() + bare.tobytes())
        text += f"\nconstants {digest.hexdigest()}"
    return text


def _constants(part: Any) -> Iterator[Any]:
    """Every array that a program holds, in order."""
    if isinstance(part, ClosedJaxpr | Jaxpr):  # one class in some generations of jax
        yield from getattr(part, "consts", ())
        for equation in part.eqns:
            yield from (x.val for x in equation.invars if isinstance(x, Literal) and np.ndim(x.val))
            yield from _constants(list(equation.params.values()))
    elif isinstance(part, list | tuple):
        for each in part:
            yield from _constants(each)


def _largest(part: Any) -> int:
    """Bytes of the largest array that a program computes."""
    if isinstance(part, ClosedJaxpr | Jaxpr):
        found = [x.aval for equation in part.eqns for x in equation.outvars]
        kinds = [(getattr(x, "shape", ()), getattr(x, "dtype", None)) for x in found]
        sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in kinds if dtype is not None]
        return max(0, *sizes, *(_largest(list(equation.params.values())) for equation in part.eqns), 0)
    return max(0, *(_largest(each) for each in part), 0) if isinstance(part, list | tuple) else 0


def _check_same_fields(
    trial: Callable, first: Sequence[Field], other: Sequence[Field], at: Mapping[str, Any], here: Mapping[str, Any]
) -> None:
    """Raise if a choice of the static axes changes what is returned, naming the field."""
    before, after = ({field.name: (field.shape, field.dtype) for field in some} for some in (first, other))
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            was, now = (
                f"{found[name][1]}{list(found[name][0])}" if name in found else "missing" for found in (before, after)
            )
            raise ValueError(
                f"{label(trial)} returns another {name!r} for other settings: {was}{_for(at)}, {now}{_for(here)}. "
                "Give it one shape and type (pad it), or run one sweep for each."
            )


def _for(static: Mapping[str, Any]) -> str:
    """Which choice of the static axes is meant, where there are any."""
    return " for " + ", ".join(f"{name}={value!r}" for name, value in static.items()) if static else ""


def _difference(a: str, b: str) -> str:
    """The first line in which two programs differ, in both."""
    lines = zip_longest(a.splitlines(), b.splitlines(), fillvalue="")
    before, after = next((x, y) for x, y in lines if x != y)
    return f"- {before.strip()[:160]}\n+ {after.strip()[:160]}"


def is_key(key: Any) -> bool:
    """Whether this is one typed key."""
    return _is_keys(key) and np.shape(key) == ()


def _is_keys(value: Any) -> bool:
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def check_key(key: Any) -> None:
    """Raise unless this is one typed key of a generator whose numbers do not depend on the batch they are drawn in.

    `jax.vmap` over keys of the others draws other numbers than their keys do one by one, as JAX's documentation says.

    Raises:
        ValueError: naming the generator and the cure.
    """
    if not isinstance(key, jax.Array) or not is_key(key):
        raise ValueError(f"key is {brief(key)}; give one typed key, such as jax.random.key(0).")
    if isinstance(key, Tracer):
        raise ValueError(
            "key is being traced; call sweep.run outside jit, vmap and grad: it compiles the trial itself."
        )
    kind = str(jax.random.key_impl(key))
    if kind != BATCHED:
        raise ValueError(
            f"key is of impl={kind!r}, a generator whose numbers depend on how many trials are computed at once, so a "
            f"trial could not be repeated; give jax.random.key(seed, impl={BATCHED!r})."
        )
