"""Inference from one exact fit: corrections of its coefficients, intervals, tests."""

from hdlogit.inference.infer import infer
from hdlogit.inference.result import ClassInference

__all__ = ["ClassInference", "infer"]
