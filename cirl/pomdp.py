"""The coordination POMDP (Hadfield-Menell et al. 2016, theorem 1), and its files for other solvers."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as XML

import numpy as np

from cirl.game import Game, Order
from cirl.human import Fixed
from mdps.checks import require_concrete

LARGEST = 20_000_000  # entries of the transition tensor


@dataclass(frozen=True)
class Pomdp:
    """A finite POMDP in dense NumPy arrays.

    Attributes:
        transition: `[A, X, X']`.
        observation: probability of each observation on arriving, `[A, X', O]`.
        reward: `[A, X]`.
        start: `[X]`.
        discount: discount factor per step.
        horizon: steps of the game it came from, or None; the file formats do not carry it.
    """

    transition: np.ndarray
    observation: np.ndarray
    reward: np.ndarray
    start: np.ndarray
    discount: float
    horizon: int | None = None

    def write(self, path: str | Path) -> None:
        """Write the POMDP, in the format of the file's ending: Cassandra's `.pomdp`, or `.pomdpx`.

        Raises:
            ValueError: for another ending.
        """
        path = Path(path)
        if path.suffix not in (".pomdp", ".pomdpx"):
            raise ValueError(f"{path.name} ends in {path.suffix!r}; the formats are .pomdp and .pomdpx.")
        path.write_text(self._cassandra() if path.suffix == ".pomdp" else self._xml(), encoding="utf-8")

    def _cassandra(self) -> str:
        A, X, _ = self.transition.shape
        told = "endless" if self.horizon is None else f"{self.horizon} steps; this format knows no horizon"
        lines = [
            f"# coordination POMDP; {told}",
            f"discount: {self.discount!r}",
            "values: reward",
            f"states: {X}",
            f"actions: {A}",
            f"observations: {self.observation.shape[2]}",
            "start: " + " ".join(repr(float(p)) for p in self.start),
        ]
        for letter, table in (("T", self.transition), ("O", self.observation)):
            entries = np.argwhere(table != 0).tolist()
            lines += [f"{letter}: {a} : {x} : {y} {float(table[a, x, y])!r}" for a, x, y in entries]
        lines += [
            f"R: {a} : {x} : * : * {float(self.reward[a, x])!r}" for a, x in np.argwhere(self.reward != 0).tolist()
        ]
        return "\n".join(lines) + "\n"

    def _xml(self) -> str:
        A, X, _ = self.transition.shape
        root = XML.Element("pomdpx", version="1.0", id="coordination")
        XML.SubElement(root, "Discount").text = repr(self.discount)
        variables = XML.SubElement(root, "Variable")
        state = XML.SubElement(variables, "StateVar", vnamePrev="x0", vnameCurr="x1", fullyObs="false")
        XML.SubElement(state, "NumValues").text = str(X)
        for kind, name, size in (("ObsVar", "o", self.observation.shape[2]), ("ActionVar", "a", A)):
            XML.SubElement(XML.SubElement(variables, kind, vname=name), "NumValues").text = str(size)
        XML.SubElement(variables, "RewardVar", vname="r")

        def function(kind, tag, variable, parents, entries, value="ProbTable"):
            conditional = XML.SubElement(XML.SubElement(root, kind), tag)
            XML.SubElement(conditional, "Var").text = variable
            XML.SubElement(conditional, "Parent").text = parents
            parameter = XML.SubElement(conditional, "Parameter", type="TBL")
            for instance, number in entries:
                entry = XML.SubElement(parameter, "Entry")
                XML.SubElement(entry, "Instance").text = instance
                XML.SubElement(entry, value).text = repr(float(number))

        sparse = lambda t, names: [(names(*i), t[tuple(i)]) for i in np.argwhere(t != 0).tolist()]  # noqa: E731
        function("InitialStateBelief", "CondProb", "x0", "null", sparse(self.start, lambda x: f"s{x}"))
        moves = sparse(self.transition, lambda a, x, y: f"a{a} s{x} s{y}")
        function("StateTransitionFunction", "CondProb", "x1", "a x0", moves)
        function("ObsFunction", "CondProb", "o", "a x1", sparse(self.observation, lambda a, x, o: f"a{a} s{x} o{o}"))
        function("RewardFunction", "Func", "r", "a x0", sparse(self.reward, lambda a, x: f"a{a} s{x}"), "ValueTable")
        XML.indent(root)
        return XML.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def coordination_pomdp(game: Game, *, human: Fixed | None = None) -> Pomdp:
    """The single-agent POMDP that is equivalent to the game: exact, and exponentially wide.

    A coordinator who knows nothing of θ chooses a plan δ_H: Θ -> A_H for the human and an action for
    the robot (with the human first: an answer to each human action), and sees (a_H, s').  There are
    |A_H|^|Θ| · |A_R| actions.  A POMDP sees nothing before it first acts, a robot sees where it starts, so
    the two are worth the same from one certain start.  With a fixed human only the robot's actions
    are left, and the state remembers the human's last action, since files tie observations to the
    state arrived in.

    Args:
        game: the game.
        human: a policy to fix, without a leading `T`; None: the coordinator chooses.

    Returns:
        `Pomdp`; state (s, θ) is number `s * Θ + θ`, with a fixed human (s, a_H, θ) is
        `(s * A_H + a_H) * Θ + θ`; observation (a_H, s') is `a_H * S + s'`.

    Raises:
        ValueError: where the table would be too large, or the fixed human's policy does not fit.

    Example:
        >>> from cirl.games import chefworld
        >>> coordination_pomdp(chefworld.mini(2)).transition.shape[0]  # 4² plans times 4 robot actions
        64
    """
    require_concrete("coordination_pomdp", prior=game.prior, probability=game.probability)
    S, AH, AR, Theta = game.mdp.num_states, game.num_human_actions, game.num_robot_actions, game.num_thetas
    dense = np.asarray(game.mdp.to_dense(), float).reshape(S, AH, AR, S)
    reward, prior = np.asarray(game.reward, float), np.asarray(game.prior, float)
    initial = np.asarray(game.mdp.initial, float)
    answers = AR**AH if game.order is Order.HUMAN_FIRST else AR
    last = 1 if human is None else AH
    count = answers * (AH**Theta if human is None else 1)
    if count * (S * last * Theta) ** 2 > LARGEST:
        raise ValueError(
            f"the coordination POMDP has {count} actions and {S * last * Theta} states, too many to write down; "
            "cirl.solve needs no such table."
        )
    if game.order is Order.HUMAN_FIRST:
        robots = np.array(list(itertools.product(range(AR), repeat=AH)))
    else:
        robots = np.repeat(np.arange(AR)[:, None], AH, axis=1)
    if human is None:
        plans = np.array(list(itertools.product(range(AH), repeat=Theta)))
        play = np.eye(AH)[plans][:, None, None]  # [δ, 1, 1, Θ, AH]
    else:
        table = np.asarray(human.fit(game).table, float)
        if len(table) > 1:
            raise ValueError(
                "the human's policy changes with the step, and a POMDP file knows no time; put it in the state."
            )
        play = np.swapaxes(table[0], 0, 1)[None]  # [1, AR, S, Θ, AH]
    T = np.zeros((count, S, last, Theta, S, last, Theta))
    Z = np.zeros((count, S, last, Theta, AH, S))
    R = np.zeros((count, S, last, Theta))
    for action, (d, b) in enumerate(itertools.product(range(len(play)), range(answers))):
        for s, theta, a in itertools.product(range(S), range(Theta), range(AH)):
            p = play[d][min(robots[b][0], play.shape[1] - 1), min(s, play.shape[2] - 1), theta, a]
            after = 0 if human is None else a
            T[action, s, :, theta, :, after, theta] += p * dense[s, a, robots[b][a]]
            R[action, s, :, theta] += p * reward[s, a, robots[b][a], theta]
            for before in range(last):
                seen = p if human is None else float(before == a)
                Z[action, s, before, theta, a, s] = seen
    X = S * last * Theta
    start = np.zeros((S, last, Theta))
    start[:, 0] = initial[:, None] * prior
    return Pomdp(
        T.reshape(count, X, X),
        Z.reshape(count, X, AH * S),
        R.reshape(count, X),
        start.reshape(X),
        float(game.mdp.discount),
        game.mdp.horizon,
    )


def read(path: str | Path) -> Pomdp:
    """Read a `.pomdp` file of numbered states, actions and observations, as `Pomdp.write` writes them.

    Raises:
        ValueError: for a line that cannot be read, an index out of range, or rows that are no
            distributions; the line is named, from 1.
    """
    path = Path(path)
    sizes: dict[str, int] = {}
    discount, start, tables = 1.0, None, {}
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.split("#")[0].strip()
        if not line:
            continue
        try:
            key, _, rest = line.partition(":")
            key = key.strip()
            if key == "discount":
                discount = float(rest)
            elif key == "values":
                if rest.strip() != "reward":
                    raise ValueError("only 'values: reward' is read")
            elif key in ("states", "actions", "observations"):
                sizes[key] = int(rest)
                if len(sizes) == 3:
                    X, A, O = sizes["states"], sizes["actions"], sizes["observations"]
                    tables = {"T": np.zeros((A, X, X)), "O": np.zeros((A, X, O)), "R": np.zeros((A, X))}
            elif key == "start":
                start = np.array([float(p) for p in rest.split()])
                if len(start) != sizes.get("states"):
                    raise ValueError(f"start has {len(start)} numbers for {sizes.get('states')} states")
            elif key in ("T", "O", "R"):
                if not tables:
                    raise ValueError("states, actions and observations must be given first")
                *index, last = (part.strip() for part in rest.split(":"))
                place, value = last.split()
                index = [*index, place] if key != "R" else index[:2]
                tables[key][tuple(int(i) for i in index)] = float(value)
            else:
                raise ValueError(f"{key!r} is no keyword")
        except (ValueError, IndexError) as error:
            raise ValueError(f"{path.name}, line {number}: {error}; the line is {raw.strip()!r}.") from error
    if start is None or not tables:
        raise ValueError(f"{path.name} ends without its preamble; it needs states, actions, observations and start.")
    for letter in ("T", "O"):
        bad = np.argwhere(np.abs(tables[letter].sum(axis=-1) - 1) > 1e-5)
        if bad.size:
            raise ValueError(f"{path.name}: {letter} of action {bad[0][0]} and state {bad[0][1]} does not sum to one.")
    return Pomdp(tables["T"], tables["O"], tables["R"], start, discount)
