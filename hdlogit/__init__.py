"""Logistic regression whose coefficients can be trusted: exact fits, and inference from them.

    from hdlogit import LogisticRegression, fit, fit_smooth, infer, plan, population

Names are imported when they are first used: `import hdlogit` alone costs neither torch nor scipy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdlogit.asymptotics.planning import plan as plan
    from hdlogit.estimator import LogisticRegression as LogisticRegression
    from hdlogit.exact.solver import fit as fit
    from hdlogit.inference.infer import infer as infer
    from hdlogit.observers import population as population
    from hdlogit.smooth.kernels import fit_smooth as fit_smooth

_HOMES = {
    "LogisticRegression": "hdlogit.estimator",
    "fit": "hdlogit.exact.solver",
    "fit_smooth": "hdlogit.smooth.kernels",
    "infer": "hdlogit.inference.infer",
    "plan": "hdlogit.asymptotics.planning",
    "population": "hdlogit.observers",
}
__all__ = ["LogisticRegression", "fit", "fit_smooth", "infer", "plan", "population"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hdlogit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
