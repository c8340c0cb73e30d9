"""Two backups of one game: the adapted one, and that of the POMDP in which a coordinator acts for both.

Both find the same value.  The coordinator chooses a plan θ -> a_H and an action for the robot, and so
looks at |A_H|^|Θ| · |A_R| actions at every belief (Hadfield-Menell et al. 2016; Malik et al. 2018).
"""

import itertools
import time
from pathlib import Path

import numpy as np

from cirl import Game, solve
from cirl.full_information import informed_values
from cirl.games import chefworld

ADAPTED, COORDINATOR, WRONG = "#0072B2", "#D55E00", "0.4"


def coordinator_value(game: Game, tol: float = 1e-6) -> float:
    """The coordination POMDP of a rational human by value iteration over (state, subset of Θ), every action tried."""
    reward, chance = np.asarray(game.reward, float), np.asarray(game.probability, float)
    ahead, gamma, prior = np.asarray(game.mdp.next_state), float(game.mdp.discount), np.asarray(game.prior, float)
    S, AH, AR, Theta = reward.shape
    plans = np.array(list(itertools.product(range(AH), repeat=Theta)))  # [P, Θ]
    told = (plans[:, :, None] == np.arange(AH)) @ np.eye(AH, dtype=int)  # [P, Θ, A_H]
    sets = np.einsum("pta,t->pa", told, 1 << np.arange(Theta))  # those who act alike, as bits
    value = np.zeros((S, 1 << Theta))
    while True:
        new = np.zeros_like(value)
        for s, m in itertools.product(range(S), range(1, 1 << Theta)):
            held = prior * (m >> np.arange(Theta) & 1)
            parts = sets & m  # [P, A_H]
            worth = np.zeros((AR, len(plans)))
            for b, a in itertools.product(range(AR), range(AH)):
                worth[b] += told[:, :, a] @ (held * reward[s, a, b])
                worth[b] += gamma * (chance[s, a, b] @ value[ahead[s][:, None], parts[:, a]])
            new[s, m] = worth.max()
        if np.abs(new - value).max() <= tol:
            return float(np.asarray(game.mdp.initial) @ new[:, -1])
        value = new


def compare(most: int) -> dict[str, list[float]]:
    """The small kitchen with 2..most recipes: value and seconds of both backups, and what full information is worth."""
    found: dict[str, list[float]] = {name: [] for name in ("thetas", "adapted", "coordinator", "informed")}
    seconds: dict[str, list[float]] = {"adapted seconds": [], "coordinator seconds": []}
    for thetas in range(2, most + 1):
        game = chefworld.mini(thetas)
        solve(game, tol=1e-4)  # compiled
        begin = time.perf_counter()
        solution = solve(game, tol=1e-4)
        between = time.perf_counter()
        found["coordinator"].append(coordinator_value(game))
        seconds["coordinator seconds"].append(time.perf_counter() - between)
        seconds["adapted seconds"].append(between - begin)
        found["thetas"].append(thetas)
        found["adapted"].append(float(solution.lower))
        best = np.asarray(informed_values(game))[0].max(axis=(1, 2)) @ np.asarray(game.prior)
        found["informed"].append(float(np.asarray(game.mdp.initial) @ best))
    return found | seconds


def draw(found: dict[str, list[float]], file: Path) -> None:
    """Value, and time, against |Θ|."""
    import matplotlib.pyplot as plt

    figure, (value, seconds) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    x = found["thetas"]
    value.plot(x, found["coordinator"], "o", mfc="none", ms=11, mew=2, color=COORDINATOR, label="coordination POMDP")
    value.plot(x, found["adapted"], "o-", color=ADAPTED, label="adapted backup")
    value.plot(x, found["informed"], "--", color=WRONG, label="elementwise max: full information")
    value.set_ylim(0.8, 1.05)
    value.set_ylabel("value at the prior, in reward")
    value.set_title("Both backups find the same value", fontsize=11)
    seconds.semilogy(x, found["coordinator seconds"], "o-", color=COORDINATOR)
    seconds.semilogy(x, found["adapted seconds"], "o-", color=ADAPTED)
    seconds.set_ylabel("seconds, compiled")
    seconds.set_title("|A_H|^|Θ| · |A_R| actions against |A_R|", fontsize=11)
    for axis in (value, seconds):
        axis.set_xlabel("|Θ|, recipes that may be meant")
        axis.set_xticks(x)
        axis.spines[["top", "right"]].set_visible(False)
    value.legend(frameon=False, fontsize=9, loc="lower left")
    figure.savefig(file, dpi=150)
    plt.close(figure)
