"""How close fitted coefficients are to the true ones, both (n_factors + 1, n_classes), last row = bias.

A number that the data do not define (the correlation of a single weight, say) is None.
"""

from __future__ import annotations

import numpy as np

from hdlogit.psychometric.function import Floats


def weight_slope(fitted: Floats, true: Floats) -> float:
    """<fitted, true> / <true, true> over the weights of all classes: 1 if they have the right size."""
    w, t = fitted[:-1].ravel(), true[:-1].ravel()
    return float(w @ t / (t @ t))


def recovery(fitted: Floats, true: Floats) -> dict[str, float | None]:
    """How close `fitted` is to `true`, both (n_factors + 1, n_classes), over all classes."""
    w, t = fitted[:-1].ravel(), true[:-1].ravel()
    spread, product = w.std() * t.std(), np.mean((w - w.mean()) * (t - t.mean()))
    return {
        "weight_slope": weight_slope(fitted, true),
        "weight_correlation": float(product / spread) if spread > 0 else None,
        "weight_rmse": float(np.sqrt(np.mean((w - t) ** 2))),
        "bias_rmse": float(np.sqrt(np.mean((fitted[-1] - true[-1]) ** 2))),
    }


def residual_sd(fitted: Floats, true: Floats) -> float | None:
    """Root-mean-square of fitted weights minus slope times true weights, class by class."""
    w, t = fitted[:-1], true[:-1]
    if len(w) == 1:
        return None  # with a single weight, the slope explains all
    return float(np.sqrt(np.mean((w - t * ((w * t).sum(0) / (t * t).sum(0))) ** 2)))
