"""An MDP with a penalty as one more feature, with a clock where the penalty needs one, and with its ends."""

import numpy as np
from jaxtyping import Array, Bool, Float

from ird.impact._reachability import CERTAIN, check_noop, inactive, known
from mdps.checks import check_array, check_flags, check_number, require_concrete
from mdps.mdp import MDP

__all__ = ["IMPACT", "ended", "penalised"]
__dir__ = __all__.copy

IMPACT = "impact"


def penalised(
    mdp: MDP,
    penalty: Float[Array, " S A"] | Float[Array, " C S A"] | np.ndarray,
    *,
    noop: int | None = None,
    ends: Bool[Array, " S"] | np.ndarray | None = None,
    running: float = 1.0,
) -> MDP:
    """The MDP with the penalty as its last feature, "impact": whatever plans for weights can trade it for reward.

    A penalty by the clock, `[C, S, A]`, gives an MDP of C·S states: state `c·S + s` is state `s` when the clock reads
    `c`.  With `noop` the clock is that of inaction, which goes on as inaction itself does: it stands when nothing
    changes any more, and goes round where that goes round.  Without `noop` it counts steps, and C must be the horizon.

    Args:
        mdp: the MDP that the penalty was made for.
        penalty: `[S, A]`, or `[C, S, A]` as the measures give it with `Inaction`, or `aup` with `steps`.
        noop: the action that does nothing, for a penalty by the clock of inaction.
        ends: states in which the run is over, `[S]`: they keep the agent, and have no features.
        running: what a step that ends nothing counts, against 1 for the one that enters `ends`.  With 1 - γ a run
            counts as if its end went on for ever, as the code of Krakovna et al. (2019) has it.

    Returns:
        The MDP; a reward of it is `mdp.reward(jnp.append(written, -β))`.

    Raises:
        ValueError: for a penalty or flags that do not fit, a clock without `noop` that is not the horizon's, an action
            that may or may not end the run, or an MDP that has such a feature already.

    Example:
        >>> import jax.numpy as jnp, mdps
        >>> from ird import impact
        >>> from mdps.worlds import safety
        >>> world = safety.sokoban(stay=True, ends=False, horizon=20)
        >>> goal = world.where(lambda state: state[0] == (4, 4))
        >>> penalty = impact.relative_reachability(world.mdp, noop=4, baseline=impact.Inaction())
        >>> careful = penalised(world.mdp, penalty, noop=4, ends=goal, running=0.01)
        >>> plan = mdps.solve(careful, careful.reward(jnp.append(world.written, -20.0)))
        >>> mdps.policy_return(careful, plan.policy, careful.reward(jnp.append(world.hidden, 0.0))).item()
        43.0
    """
    mdp = known("penalised", mdp)
    require_concrete("penalised", penalty=penalty, running=running)
    S, A = mdp.num_states, mdp.num_actions
    charge = np.asarray(check_array("penalty", penalty), np.float64)
    if charge.ndim not in (2, 3) or charge.shape[-2:] != (S, A):
        raise ValueError(f"penalty has shape {charge.shape}; it must be [S, A] or [C, S, A] with S={S}, A={A}.")
    if IMPACT in mdp.feature_names:
        raise ValueError(f"the MDP has a feature {IMPACT!r} already; give the one that the penalty was made for.")
    over = np.zeros(S, bool) if ends is None else np.asarray(check_flags("ends", ends, S))
    running = float(check_number("running", running, lambda x: 0 <= x <= 1, "give a number from 0 to 1."))
    charge = charge * _what_counts(mdp, over, running)
    after = _clock(mdp, charge, noop)
    plain = ended(mdp, over)
    features = np.asarray(plain.features)
    features = np.repeat(features[:, None], A, axis=1) if features.ndim == 2 else features
    C = len(after)
    tables = after[:, None, None] * S + np.asarray(plain.next_state)  # [C, S, D]
    counted = [np.tile(features, (C, 1, 1)), charge.reshape(C * S, A, 1)]
    return MDP.from_table(
        tables.reshape(C * S, -1),
        np.tile(np.asarray(plain.probability), (C, 1, 1)),
        np.concatenate(counted, axis=2),
        np.append(np.asarray(plain.initial), np.zeros((C - 1) * S)),
        available=None if plain.available is None else np.tile(np.asarray(plain.available), (C, 1)),
        discount=float(mdp.discount),
        horizon=mdp.horizon,
        feature_names=(*mdp.feature_names, IMPACT),
    )


def ended(mdp: MDP, over: np.ndarray) -> MDP:
    """The MDP in which these states keep the agent, and have no features."""
    if not over.any():
        return mdp
    table, chance, features = (np.array(x) for x in (mdp.next_state, mdp.probability, mdp.features))
    table[over], features[over] = np.flatnonzero(over)[:, None], 0
    chance[over] = np.arange(chance.shape[2]) == 0
    exist = None if mdp.available is None else np.asarray(mdp.available) | over[:, None]
    return MDP.from_table(
        table,
        chance,
        features,
        np.asarray(mdp.initial),
        available=exist,
        discount=float(mdp.discount),
        horizon=mdp.horizon,
        feature_names=mdp.feature_names,
    )


def _what_counts(mdp: MDP, over: np.ndarray, running: float) -> np.ndarray:
    """What the penalty of each state and action counts, `[S, A]`."""
    entering = np.einsum("sad,sd->sa", np.asarray(mdp.probability, np.float64), over[np.asarray(mdp.next_state)])
    exists = np.ones(entering.shape, bool) if mdp.available is None else np.asarray(mdp.available)
    open_ = exists & ~over[:, None] & (entering > CERTAIN) & (entering < 1 - CERTAIN)
    if open_.any() and running != 1:
        s, a = (int(i) for i in np.argwhere(open_)[0])
        raise ValueError(
            f"action {a} in state {s} ends the run with probability {entering[s, a]:.3g}; what its penalty counts is "
            "known only where that is certain, or with running=1."
        )
    weights = np.where(entering > 0.5, 1.0, running)
    weights[over] = 0
    return weights


def _clock(mdp: MDP, charge: np.ndarray, noop: int | None) -> np.ndarray:
    """What the clock reads after each of its readings, `[C]`."""
    if charge.ndim == 2:
        return np.zeros(1, int)
    C = len(charge)
    if noop is not None:
        going = inactive(mdp, check_noop(mdp, noop))
        if len(going.path) != C:
            raise ValueError(
                f"penalty has {C} readings of the clock, and inaction from the start passes {len(going.path)} states; "
                "give the MDP and the noop that it was made with, or leave out noop for a penalty by the step."
            )
        return np.array([*range(1, C), going.returns])
    if mdp.horizon != C:
        raise ValueError(
            f"penalty has {C} readings of a clock, and the horizon is {mdp.horizon}; give noop= for a penalty against "
            "Inaction(), or one reading per step."
        )
    return np.array([*range(1, C), C - 1])
