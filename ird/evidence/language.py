"""Language: an utterance stands for the trajectories that are consistent with it."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from ird.evidence.checks import Beta, check_beta_or_prior
from ird.evidence.choice import Choice
from ird.evidence.feedback import features_of
from mdps import MDP
from mdps.checks import check_mdp, shown

__all__ = ["Utterance"]
__dir__ = __all__.copy


class Utterance(Choice):
    r"""What was said, among what could have been: each utterance is grounded in its trajectories (Jeon et al. 2020).

    The grounding is uniform over the trajectories that are consistent with the utterance.

    Example:
        >>> import mdps
        >>> grid = mdps.GridWorld.from_text("SgG\n...", {"S": ".", ".": ".", "g": "grass", "G": "goal"}, horizon=4)
        >>> paths = {"keep off the grass": [[0, 3, 4, 5]], "go as you like": [[0, 3, 4, 5], [0, 1, 2, 2]]}
        >>> seen = Utterance(grid.mdp, paths, "keep off the grass")
        >>> bool(seen.log_likelihood(jnp.asarray([[0.0, -9.0, 0.0]]))[0] > jnp.log(0.5))
        True
    """

    def __init__(
        self,
        mdp: MDP,
        meanings: Mapping[str, Sequence[Sequence[int]] | np.ndarray],
        said: str,
        *,
        beta: Beta = 1.0,
    ):
        """Ground the utterances.

        Args:
            mdp: the MDP.
            meanings: for each utterance the paths consistent with it, `states [n, T]`, all of one length.
            said: which of them was said.
            beta: inverse temperature of the speaker, in 1/return, or a distribution of it where it is unknown.

        Raises:
            ValueError: for an utterance that was not possible, one that no path is consistent with,
                paths of unequal length, or an impossible move.
        """
        check_beta_or_prior(beta, check_mdp(mdp).features.dtype)
        if not isinstance(meanings, Mapping):
            raise ValueError(f"meanings is {shown(meanings)}; give the paths of each utterance, a dictionary.")
        if not isinstance(said, str) or said not in meanings:
            raise ValueError(f"said is {shown(said)}, which is not among the utterances {tuple(meanings)}.")
        for utterance, paths in meanings.items():
            if isinstance(paths, str) or not hasattr(paths, "__len__"):
                raise ValueError(f"the meaning of {utterance!r} is {shown(paths)}; give a list of paths, [n, T].")
        empty = [u for u, paths in meanings.items() if len(paths) == 0]
        if empty:
            raise ValueError(
                f"meanings: no trajectory is consistent with {empty[0]!r}, so it stands for nothing; leave it out."
            )
        for utterance, paths in meanings.items():
            if any(np.ndim(path) != 1 for path in paths):
                raise ValueError(
                    f"{utterance!r} does not mean paths; give a list of them, each the states visited [T]."
                )
        lengths = {len(path) for paths in meanings.values() for path in paths}
        if len(lengths) != 1:
            raise ValueError(f"the paths have lengths {sorted(lengths)}; ground all utterances in paths of one length.")
        options = [
            features_of(mdp, **{f"path {i} of {each!r}": path for i, path in enumerate(paths)}).mean(axis=0)
            for each, paths in meanings.items()
        ]
        super().__init__(jnp.stack(options), list(meanings).index(said), beta=beta, feature_names=mdp.feature_names)
