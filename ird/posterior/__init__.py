"""The posterior over true rewards: exact, weighted draws, or chains; and what it can not tell.

`exact` sums over a list; `importance` and `laplace` weigh independent draws; `nuts` and `exchange` run
chains; `smc` moves a crowd from the prior to the posterior.  All return the same `Posterior`.
"""

from ird.diagnostics import ConvergenceWarning
from ird.posterior._exact import exact
from ird.posterior._exchange import exchange
from ird.posterior._importance import importance
from ird.posterior._laplace import laplace
from ird.posterior._nuts import nuts
from ird.posterior._posterior import Posterior
from ird.posterior._smc import smc

__all__ = ["ConvergenceWarning", "Posterior", "exact", "exchange", "importance", "laplace", "nuts", "smc"]
__dir__ = __all__.copy
