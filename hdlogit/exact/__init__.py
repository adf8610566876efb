"""The exact fit: the minimum of the loss, and whether it exists."""

from hdlogit.exact.solver import ExactFit, Shrinkage, fit

__all__ = ["ExactFit", "Shrinkage", "fit"]
