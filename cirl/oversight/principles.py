"""A rule that is kept while planning, beside the same rule fitted into a reward (Guan et al. 2024, in the small).

What a list of principles can and cannot say is a matter of evidence: `ird.evidence.Comparison(principles=...)` looks
at the features that the list mentions, and leaves the weights of all others at their prior.  Here is the other half.
A rule that was fitted into a reward is a price, learnt from cases in which little was to be gained by breaking it;
where more is to be gained than any of them showed, the price is paid.  A rule that is kept as a constraint has no
price: it holds in cases that nobody thought of, and also in those in which nobody would have wanted it.

Of deliberative alignment this leaves out the point, that a model reasons about the rule in words; of constitutional AI
critique and revision.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from mdps.checks import check_flags, check_mdp, require_concrete
from mdps.mdp import MDP

__all__ = ["forbid"]
__dir__ = __all__.copy


def forbid(mdp: MDP, where: Bool[Array, " S"] | np.ndarray) -> MDP:
    r"""The same MDP without the actions that may break a rule: no run ever enters a state in which it is broken.

    An action goes if it may lead to a broken state, or to one from which every action may in the end.  Nothing more
    goes: every plan that keeps the rule for sure, without an end, is still there.  States that cannot be reached
    without breaking it keep what they had.

    Args:
        mdp: where to plan.
        where: flags of the states in which the rule is broken, `[S]`.

    Returns:
        An `MDP`; solve it like any other.

    Raises:
        ValueError: where no plan from the start keeps the rule for sure.

    Example:
        >>> import mdps
        >>> legend = {"S": "path", ".": "path", "l": "lawn", "G": "door"}
        >>> grid = mdps.GridWorld.from_text("SlG\n...", legend, horizon=8)
        >>> door, lawn = grid.mdp.reward(grid.weights(door=1.0)), grid.mdp.features[:, 1] > 0
        >>> for mdp in (grid.mdp, forbid(grid.mdp, lawn)):
        ...     plan = mdps.solve(mdp, door).policy
        ...     print(round(float(mdps.visit_probability(mdp, plan, lawn)), 6))
        1.0
        0.0
    """
    check_mdp(mdp)
    require_concrete("forbid", mdp=mdp.probability, flags=where)
    broken = np.asarray(check_flags("where", where, mdp.num_states))
    to, likely = np.asarray(mdp.next_state), np.asarray(mdp.probability) > 0  # [S, D], [S, A, D]
    exists = np.ones(likely.shape[:2], bool) if mdp.available is None else np.asarray(mdp.available)
    lost = broken.copy()
    while True:
        safe = exists & ~(likely & lost[to][:, None]).any(axis=2)
        more = lost | ~safe.any(axis=1)
        if (more == lost).all():
            break
        lost = more
    starts = np.flatnonzero((np.asarray(mdp.initial) > 0) & lost)
    if starts.size:
        raise ValueError(
            f"where cannot be kept to from state {starts[0]}: "
            + ("it is a broken state itself" if broken[starts[0]] else "each of its actions may lead to a broken state")
            + "; give another start, or let the rule have a price."
        )
    return mdp.replace(available=jnp.asarray(np.where(lost[:, None], exists, safe)))
