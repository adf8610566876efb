"""What one exact fit says of its own coefficients: corrections, intervals, tests."""

from hdlogit.inference.infer import infer
from hdlogit.inference.result import ClassInference

__all__ = ["ClassInference", "infer"]
