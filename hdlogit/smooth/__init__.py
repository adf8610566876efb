"""Kernels: weights of ordered factors, neighbours of which are alike."""

from hdlogit.smooth.kernels import Smooth, fit_smooth

__all__ = ["Smooth", "fit_smooth"]
