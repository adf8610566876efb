"""The textbook's inference, for a class that has no better one."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from hdlogit.inference import ClassInference

Array = NDArray[np.float64]

SINGULAR = 1e-10  # smallest eigenvalue of the Hessian, in units that make its diagonal 1


def classical_inference(
    factors: NDArray[np.floating], coefficients: Array, ridge: float, shrunken: bool, reason: str
) -> ClassInference:
    """Of a fit (p + 1,), with penalty n (ridge/2)‖w‖²; H = Σ σ'(z_i) x̃_i x̃_iᵀ + penalty; x̃ = (x − x̄, 1)

    Where H is singular, H⁻¹ is the pseudoinverse, and errors are infinite along what it does not determine.
    Of a fit to shrunken responses the textbook knows no errors at all.
    """
    n, p = factors.shape
    centre, scale = (np.asarray(f(axis=0, dtype=np.float64)) for f in (factors.mean, factors.std))
    x = np.column_stack([factors - centre, np.ones(n)])
    z = factors @ coefficients[:-1] + coefficients[-1]
    hessian = (x.T * (expit(z) * expit(-z))) @ x + np.diag(np.append(np.full(p, n * ridge), 0.0))
    root = np.sqrt(np.diag(hessian))
    unit = 1 / np.where(root > 0, root, 1.0)  # a constant factor has none
    values, vectors = np.linalg.eigh(hessian * np.outer(unit, unit))
    vectors = np.where(np.abs(vectors) > 1e-9, vectors, 0.0) * unit[:, None]  # without rounding
    known = values > SINGULAR
    inverse = (vectors[:, known] / values[known]) @ vectors[:, known].T
    unknown = np.eye(p + 1) if shrunken else vectors[:, ~known]
    return ClassInference.classical(coefficients, inverse, centre, scale, reason, unknown)
