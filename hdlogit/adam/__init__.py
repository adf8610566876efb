"""The notebook's fit: minibatch Adam, from the initial coefficients of torch's linear layer."""

from hdlogit.adam.training import Training, initial_coefficients

__all__ = ["Training", "initial_coefficients"]
