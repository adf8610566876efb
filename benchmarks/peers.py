"""What one would write or call instead of `hdlogit.exact.fit`: the peers in its benchmark, each at its best.

Every peer takes factors (n_trials, n_factors) float64, responses (n_trials, n_classes) bool and the tolerance, and
returns coefficients (n_factors + 1, n_classes) with max |gradient| <= tolerance for every class.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]


def torch_lbfgs(factors: Array, responses: NDArray[np.bool_], tolerance: float) -> Array:
    """`torch.optim.LBFGS` with strong Wolfe conditions: all classes jointly, gradient by formula, no autograd."""
    x, y = torch.from_numpy(factors), torch.from_numpy(responses).double()
    w = torch.zeros(x.shape[1] + 1, y.shape[1], dtype=torch.float64)
    w.grad = g = torch.zeros_like(w)
    steps = torch.optim.LBFGS([w], 1, 10_000, 20_000, tolerance, 0, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> float:
        z = torch.addmm(w[-1], x, w[:-1])
        r = torch.sigmoid(z).sub_(y)
        torch.mm(x.T, r, out=g[:-1])
        torch.sum(r, 0, out=g[-1])
        g.div_(len(x))
        return float(torch.nn.functional.softplus(z).sum() - torch.vdot(z.view(-1), y.view(-1))) / len(x)

    with torch.no_grad():
        steps.step(closure)  # type: ignore[no-untyped-call]  # torch
    return w.numpy()


def scikit_learn(factors: Array, responses: NDArray[np.bool_], tolerance: float) -> Array:
    """Its lbfgs, classes shared out over cores by joblib, each with one BLAS thread."""
    from joblib import Parallel, delayed  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits

    def one(k: int) -> Array:
        with threadpool_limits(1):
            return _scikit_learn_class(factors, responses[:, k], tolerance)

    if responses.shape[1] == 1:
        return one(0)[:, None]
    with threadpool_limits(1):
        columns = Parallel(n_jobs=-1, prefer="threads")(delayed(one)(k) for k in range(responses.shape[1]))
    return np.stack(columns, axis=1)


def scikit_learn_default(factors: Array, responses: NDArray[np.bool_], tolerance: float) -> Array:
    """As most people call it: class after class, with the default number of threads."""
    columns = [_scikit_learn_class(factors, responses[:, k], tolerance) for k in range(responses.shape[1])]
    return np.stack(columns, axis=1)


def _scikit_learn_class(factors: Array, responses: NDArray[np.bool_], tolerance: float) -> Array:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=np.inf, solver="lbfgs", tol=tolerance, max_iter=10_000)
    model.fit(factors, responses)
    return np.append(model.coef_[0], model.intercept_)
