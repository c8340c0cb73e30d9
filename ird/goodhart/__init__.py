"""How hard a written reward may be optimised: what the meant one does under pressure, when to stop, and why it falls.

`by_temperature`, `best_of` and `regularised` are curves of written and meant reward against pressure; `ascend` is the
steepest ascent over occupancies, which can be stopped before any reward of a cone falls; `diagnose` tells the four
variants of Goodhart's law apart.
"""

from ird.goodhart._ascent import Path, along, ascend
from ird.goodhart._curve import Curve
from ird.goodhart._diagnose import Diagnosis, diagnose
from ird.goodhart._outcomes import answers, path_returns
from ird.goodhart._selection import best_of, best_of_chances, kl_bound, regularised, regularised_chances
from ird.goodhart._temperature import by_temperature
from ird.goodhart._variants import Variant, adversarial, causal, extremal, regressional

__all__ = [
    "Curve",
    "Diagnosis",
    "Path",
    "Variant",
    "adversarial",
    "along",
    "answers",
    "ascend",
    "best_of",
    "best_of_chances",
    "by_temperature",
    "causal",
    "diagnose",
    "extremal",
    "kl_bound",
    "path_returns",
    "regressional",
    "regularised",
    "regularised_chances",
]
__dir__ = __all__.copy
