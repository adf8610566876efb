"""The scikit-learn estimator: fit and inference in one object. Needs scikit-learn and pandas."""

from hdlogit.estimator.logistic_regression import LogisticRegression, ModelWarning

__all__ = ["LogisticRegression", "ModelWarning"]
