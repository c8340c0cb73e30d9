"""Debate over claim trees: two debaters who disagree, a judge who reads one leaf (Irving et al. 2018, in the small).

A claim is true if one of its sub-claims is (OR) or if all are (AND), by turns down the tree, and a leaf is something
that a judge can look at.  One debater says that the root is true and picks the sub-claim at every OR, the other says
that it is false and picks at every AND; so they walk down to one leaf, which the judge reads, with an error.  The side
that is right is called honest here, the other one the liar.  Debaters are as able as their *skill* β makes them: they
pick a sub-claim with probability ∝ exp(±β value), where the value is the probability of the verdict "true" from there
on, with both debaters as they are.  0 tosses a coin, infinity plays best.

This is a toy.  One leaf decides what 2^d leaves mean, because the debaters know all of them; nothing here tests that
people could judge a leaf, or that real arguments are trees.  Nor are these the laws of Engels et al. 2025
(arXiv 2504.18530), which fit Elo scores to games between language models.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from cirl.oversight._given import Real, chance, one_real
from mdps.checks import check_count, check_truth, shown

__all__ = ["Certificate", "Obfuscation", "Verdict", "accuracy", "certificate", "obfuscated", "verdict"]
__dir__ = __all__.copy

MOST_KINDS = 2_000_000  # different sub-trees that are looked at
DIGITS = 13  # to which the values of two sub-trees agree that count as one

Claim = bool | np.bool_ | np.ndarray | Sequence[Any]


@dataclass(frozen=True)
class Verdict:
    """How a debate ends.

    Attributes:
        truth: whether the claim is true.
        says_true: probability that the judge says so.
    """

    truth: bool
    says_true: float

    @property
    def accuracy(self) -> float:
        """Probability that the judge is right."""
        return self.says_true if self.truth else 1 - self.says_true

    def __str__(self) -> str:
        return f"the claim is {str(self.truth).lower()}; the judge is right with probability {self.accuracy:.6g}"


@dataclass(frozen=True)
class Certificate:
    """The fewest leaves that a liar must be able to turn.

    Attributes:
        leaves: one smallest set of leaves, each by the way to it from the root.
    """

    leaves: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """How many leaves these are."""
        return len(self.leaves)

    def __str__(self) -> str:
        return (
            f"the verdict turns with {self.size} {'leaf' if self.size == 1 else 'leaves'}, such as {list(self.leaves)}"
        )


class Obfuscation(NamedTuple):
    """What becomes of one flaw in a long argument.

    Attributes:
        found: probability that the honest debater leads the judge to it.
        accuracy: probability that the judge is right about an argument that has the flaw.
    """

    found: float
    accuracy: float


def verdict(
    claim: Claim,
    *,
    honest: Real = math.inf,
    liar: Real = math.inf,
    error: Real | np.ndarray | Sequence[Any] = 0.1,
    or_first: bool = True,
) -> Verdict:
    """The debate about one claim, by backward recursion; exact.

    With two perfect debaters and one error ε ≤ 1/2 for all leaves, the judge is right with probability 1 - ε at any
    depth.  (A judge who is wrong more often than right turns the game around: who is right has to seem wrong.)

    Args:
        claim: a truth, or a sequence of claims: lists of lists of truths, ragged or not; a boolean array will do.
        honest: skill of the debater who is right about the root, 0 or more; `math.inf` plays best.
        liar: skill of the other one.
        error: probability that the judge misreads a leaf, one for all or in the shape of the claim, one for each leaf;
            a leaf of error 1 is one that the liar has turned.
        or_first: whether the root is true if *one* sub-claim is; else if all are.

    Returns:
        A `Verdict`.

    Raises:
        ValueError: for a claim that is none, a negative skill, or errors that are no probabilities.

    Example:
        >>> print(verdict([[True, False], [True, True]]))
        the claim is true; the judge is right with probability 0.9
        >>> print(verdict([[True, False], [True, True]], honest=2.0, liar=2.0))
        the claim is true; the judge is right with probability 0.760916
    """
    skills = _skill("honest", honest), _skill("liar", liar)
    or_first = check_truth("or_first", or_first)
    given = _claim(claim)
    errors = _errors(error, given)
    truth = _truth(given, or_first)
    for_true, for_false = skills if truth else skills[::-1]
    return Verdict(truth, _says_true(given, errors, or_first, for_true, for_false))


def accuracy(
    depth: int,
    *,
    honest: Real = math.inf,
    liar: Real = math.inf,
    error: Real = 0.1,
    branching: int = 2,
    or_first: bool = True,
    share: Real = 0.5,
) -> float:
    """How often the judge is right, over all claim trees of a depth; exact.

    Every leaf is true with probability `share`, by itself.  Sub-trees that play the same are counted, not listed, so
    that depth 5 is within reach for two sub-claims, and any depth for perfect debaters.

    Args:
        depth: levels of sub-claims; 0 is a leaf.
        honest: skill of the debater who is right about the root (`verdict`).
        liar: skill of the other one.
        error: probability that the judge misreads a leaf.
        branching: sub-claims of each claim.
        or_first: whether the root is an OR.
        share: probability that a leaf is true.

    Returns:
        A probability.

    Raises:
        ValueError: for arguments that are none of these, or more different sub-trees than can be looked at.

    Example:
        >>> [round(accuracy(d, honest=0, liar=0), 6) for d in (1, 2, 3, 4)]
        [0.7, 0.65, 0.565625, 0.553064]
        >>> round(accuracy(4, honest=2.0, liar=2.0), 6), round(accuracy(20), 6)
        (0.697924, 0.9)
    """
    depth, b = check_count("depth", depth, least=0), check_count("branching", branching)
    skills = _skill("honest", honest), _skill("liar", liar)
    error, share = chance("error", error), chance("share", share)
    or_first = check_truth("or_first", or_first)
    # Each kind of sub-tree: its truth, its two values (the honest debater is for, against the claim), its probability.
    truth, weight = np.array([False, True]), np.array([1 - share, share])
    values = np.array([[error, 1 - error]] * 2).T
    for level in reversed(range(depth)):
        at_or = or_first == (level % 2 == 0)
        picked, log_ways = _multisets(len(truth), b)
        with np.errstate(divide="ignore"):  # kinds that do not occur
            weight = np.exp(log_ways + np.log(weight)[picked].sum(axis=1))
        truth = np.asarray((np.any if at_or else np.all)(truth[picked], axis=1))
        movers = skills if at_or else skills[::-1]
        sign = 1 if at_or else -1
        values = np.stack([_worth_to_mover(values[picked, i], sign, movers[i]) for i in (0, 1)], axis=1)
        truth, values, weight = _merged(truth, values, weight)
    return float(weight @ np.where(truth, values[:, 0], 1 - values[:, 1]))


def certificate(claim: Claim, *, or_first: bool = True) -> Certificate:
    """The fewest leaves whose reading a liar must turn, so that perfect debaters end with the wrong verdict.

    A true OR needs all its true sub-claims turned, a false one any sub-claim; an AND the other way round.  The turned
    leaves then meet every proof of what is the case.

    Args:
        claim: lists of lists of truths (`verdict`).
        or_first: whether the root is an OR.

    Returns:
        A `Certificate`; ties go to what stands first.

    Raises:
        ValueError: for a claim that is none.

    Example:
        >>> print(certificate([[True, True], [True, True], [True, False]]))
        the verdict turns with 2 leaves, such as [(0, 0), (1, 0)]
    """
    return Certificate(tuple(_turned(_claim(claim), check_truth("or_first", or_first))[1]))


def obfuscated(width: int, depth: int, budget: int, *, error: Real = 0.1, guess: bool = False) -> Obfuscation:
    """One flaw in an argument of many steps, and an honest debater who can look at few of them.

    The liar's argument has `depth` levels of `width` steps each; one of them is flawed at every level, and only along
    the flawed ones lies the leaf that shows it.  The honest debater looks at `budget` steps of a level and points at
    the flaw if it is among them: (B/N)^d.  One who saw no flaw can still point at a step that was not looked at, which
    counts as one look more: ((B + 1)/N)^d.

    Args:
        width: N, steps of a level.
        depth: d, levels.
        budget: B, steps that the honest debater looks at, 0 or more; N and more see everything.
        error: probability that the judge misreads a leaf; elsewhere than at the flaw all leaves are in order.
        guess: whether the honest debater points at something when no flaw was seen.

    Returns:
        An `Obfuscation`.  An argument without a flaw is judged right with probability 1 - `error`.

    Raises:
        ValueError: for counts that are none, or an error that is no probability.

    Example:
        >>> obfuscated(10, 2, 5, error=0.0).found
        0.25
    """
    width, depth = check_count("width", width), check_count("depth", depth, least=0)
    budget, error = check_count("budget", budget, least=0), chance("error", error)
    looks = budget + check_truth("guess", guess)
    found = min(looks / width, 1.0) ** depth
    return Obfuscation(found, found * (1 - error) + (1 - found) * error)


def _skill(name: str, beta: Any) -> float:
    return one_real(name, beta, lambda b: b >= 0, "give a skill of 0 (a coin) or more; math.inf plays best.")


def _claim(claim: Any, way: tuple[int, ...] = ()) -> Any:
    """A truth, or a tuple of claims."""
    if isinstance(claim, bool | np.bool_):
        return bool(claim)
    claim = claim.tolist() if isinstance(claim, np.ndarray) else claim
    if isinstance(claim, bool):
        return claim
    at = f"claim, at {list(way)}," if way else "claim"
    if isinstance(claim, str | bytes) or not isinstance(claim, Sequence) or not len(claim):
        raise ValueError(f"{at} is {shown(claim)}; give True, False, or a list of claims that is not empty.")
    return tuple(_claim(each, (*way, i)) for i, each in enumerate(claim))


def _errors(error: Any, claim: Any) -> Any:
    """Errors in the shape of a claim, each a probability; or one number for all that is below."""
    error = error.tolist() if isinstance(error, np.ndarray) else error
    if isinstance(claim, bool) or not isinstance(error, Sequence) or isinstance(error, str):
        return chance("error", error)
    if len(error) != len(claim):
        raise ValueError(
            f"error has {len(error)} entries where the claim has {len(claim)} sub-claims; give one number for all "
            "leaves, or numbers in the shape of the claim."
        )
    return tuple(_errors(e, each) for e, each in zip(error, claim, strict=True))


def _truth(claim: Any, at_or: bool) -> bool:
    if isinstance(claim, bool):
        return claim
    return (any if at_or else all)(_truth(each, not at_or) for each in claim)


def _says_true(claim: Any, error: Any, at_or: bool, for_true: float, for_false: float) -> float:
    """Probability that a leaf is read that says "true", with both debaters as they are."""
    if isinstance(claim, bool):
        return 1 - error if claim else error
    pairs = zip(claim, error if isinstance(error, tuple) else itertools.repeat(error, len(claim)), strict=True)
    values = np.array([[_says_true(c, e, not at_or, for_true, for_false) for c, e in pairs]])
    return float(_worth_to_mover(values, 1 if at_or else -1, for_true if at_or else for_false)[0])


def _worth_to_mover(values: np.ndarray, sign: int, skill: float) -> np.ndarray:
    """What a node is worth whose mover picks a child with probability ∝ exp(±β value): `[..., b] -> [...]`."""
    if skill == math.inf:
        return (sign * values).max(axis=-1) * sign
    liked = sign * values
    weight = np.exp(skill * (liked - liked.max(axis=-1, keepdims=True)))
    return (weight * values).sum(axis=-1) / weight.sum(axis=-1)


def _multisets(kinds: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """All ways to have `size` children of so many kinds, whatever their order, and log how many orders each has."""
    count = math.comb(kinds + size - 1, size)
    if count > MOST_KINDS:
        raise ValueError(
            f"depth and branching make {count:,} different sub-trees, more than the {MOST_KINDS:,} that are looked at; "
            "give fewer of either, or average `verdict` over drawn claims."
        )
    flat: Iterator[int] = itertools.chain.from_iterable(itertools.combinations_with_replacement(range(kinds), size))
    picked = np.fromiter(flat, np.int64, count * size).reshape(count, size)
    run, repeats = np.ones(count), np.zeros(count)
    for j in range(1, size):
        run = np.where(picked[:, j] == picked[:, j - 1], run + 1, 1)
        repeats += np.log(run)
    return picked, math.lgamma(size + 1) - repeats


def _merged(truth: np.ndarray, values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kinds that play the same, to `DIGITS` digits, as one."""
    rows = np.concatenate([truth[:, None], np.round(values, DIGITS)], axis=1)
    kept, to = np.unique(rows, axis=0, return_inverse=True)
    total = np.bincount(to.ravel(), weight, minlength=len(kept))
    return kept[:, 0] > 0.5, kept[:, 1:], total / total.sum()  # else the rounding of their sum doubles at each level


def _turned(claim: Any, at_or: bool) -> tuple[bool, list[tuple[int, ...]]]:
    """A claim's truth, and one smallest set of leaves that turns it."""
    if isinstance(claim, bool):
        return claim, [()]
    below = [_turned(each, not at_or) for each in claim]
    sets = [[(i, *way) for way in ways] for i, (_, ways) in enumerate(below)]
    truth = (any if at_or else all)(each for each, _ in below)
    if truth != at_or:  # one sub-claim turns it
        return truth, min(sets, key=len)
    decisive = (ways for (each, _), ways in zip(below, sets, strict=True) if each == at_or)
    return truth, [way for ways in decisive for way in ways]
