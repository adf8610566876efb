"""Logistic regression as a scikit-learn estimator, with inference."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit

try:
    import pandas as pd
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    raise ImportError(
        "hdlogit.LogisticRegression needs scikit-learn and pandas: pip install scikit-learn pandas; "
        "hdlogit.fit and hdlogit.infer need neither"
    ) from None

from hdlogit.exact import Shrinkage, fit
from hdlogit.inference import ClassInference, infer
from hdlogit.inference.comparison import usefulness
from hdlogit.inference.observer import Asymptotes
from hdlogit.inference.questions import Question, missing, questions, sentence
from hdlogit.inference.terms import joint_test
from hdlogit.inference.threshold import Estimate, stimuli, thresholds

Array = NDArray[np.float64]
NAMED = 5  # factors that separate, named in a warning


class ModelWarning(UserWarning):
    """The responses do not follow the model: it lacks something."""


class Summary(pd.DataFrame):  # type: ignore[misc]  # pandas ships no types
    """A table of coefficients, which prints four significant digits, whatever the units of the factors."""

    def __repr__(self) -> str:
        return str(self.to_string(float_format="{:.4g}".format))


class LogisticRegression(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """P(y = 1 | x) = g + (1 − g − l) σ(x·w + b) with corrected coefficients, intervals that cover, p-values.

    ridge:       μ of the penalty (μ/2)‖w‖² on the mean loss; scikit-learn's C is 1/(n_trials μ). 0: maximum
                 likelihood.
    shrinkage:   of the responses towards 1/2 (see `hdlogit.fit`): "auto" where there is no
                 maximum-likelihood estimate, with a warning; "always"; 0, never: such responses are an error.
    asymptotes:  "estimate": guess rate g and lapse rate l are estimated from the data, unless one is given
                 as a number. "tied": as one, g = l, half of the rate of lapses that do not depend on the
                 stimulus. "none": a rate that is not given is 0.
    level:       of the intervals, unless a method is given another.
    tol, max_iter:  `tolerance` and `max_iterations` of `hdlogit.fit`.

    y has two labels; the second in sorted order is the yes. It may hold several responses to the same x,
    (n_trials, n_responses), with the same two labels in every column; predictions then have one for each.
    After `fit`:

    coef_, coef_error_, p_values_:  (n_responses, n_features), weights, standard errors, tests of no effect
    intercept_, intercept_error_:  (n_responses,)
    classical_coef_, classical_intercept_:  the fit before it was corrected
    guess_rate_, lapse_rate_, shrinkage_, n_iter_:  (n_responses,)
    inference_:  `hdlogit.inference.ClassInference` of each response. Where nothing can be corrected, a
                 warning gives its `reason`: coefficients are as fitted, errors and tests NaN.
    classes_, n_features_in_, feature_names_in_:  as always in scikit-learn
    """

    def __init__(
        self,
        *,
        ridge: float = 0.0,
        shrinkage: Shrinkage = "auto",
        asymptotes: Asymptotes = "none",
        guess_rate: float | None = None,
        lapse_rate: float | None = None,
        level: float = 0.95,
        tol: float = 1e-6,
        max_iter: int = 500,
    ) -> None:
        self.ridge = ridge
        self.shrinkage = shrinkage
        self.asymptotes = asymptotes
        self.guess_rate = guess_rate
        self.lapse_rate = lapse_rate
        self.level = level
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """X: (n_trials, n_features); y: (n_trials,) or (n_trials, n_responses) of two labels.

        sample_weight: (n_trials,) whole numbers, how often each trial occurred, as if its row were repeated.
        Raises ValueError, in one line, where no estimate exists or the arguments are impossible.
        """
        self._check_parameters()
        names, objects = getattr(y, "columns", None), np.asarray(y, object if isinstance(y, list) else None)
        if (
            objects.dtype == object and objects.ndim and pd.isna(objects).any()
        ):  # which NumPy would take for a third label
            raise ValueError("y holds missing labels; leave trials without a label out of X and y")
        types = (np.float64, np.float32)
        factors, labels = validate_data(self, X, y, dtype=types, order="C", multi_output=True)
        if sample_weight is not None:
            rows = _repeated(sample_weight, len(factors))
            factors, labels = factors[rows], labels[rows]
        responses, self._n_trials = self._responses(labels), len(factors)
        self._names = list(names if names is not None else range(responses.shape[1])) if self._several else []
        numbered = [f"x{j}" for j in range(factors.shape[1])]
        self._features = list(map(str, getattr(self, "feature_names_in_", numbered)))
        how = self.ridge, self.tol, self.max_iter
        fitted = fit(factors, responses, *how, polish=True, shrinkage=self.shrinkage)
        if refused := [self._line(k, reason) for k, reason in enumerate(fitted.reasons) if reason]:
            raise ValueError(refused[0])
        self.n_iter_, self.shrinkage_ = np.maximum(fitted.iterations, 1), fitted.shrinkage
        self.inference_ = self._infer(factors, responses, fitted.coefficients)
        for k, separating in enumerate(fitted.separating):
            for line in self._warnings(k, separating or []):
                warnings.warn(self._line(k, line), UserWarning, stacklevel=2)
        if lacking := [*self._missing(factors, responses)]:
            warnings.warn("; ".join(lacking), ModelWarning, stacklevel=2)
        corrected, classical, errors = (
            np.array([getattr(inference, name) for inference in self.inference_])
            for name in ("corrected", "estimate", "corrected_error")
        )
        self.coef_, self.intercept_ = corrected[:, :-1], corrected[:, -1]
        self.classical_coef_, self.classical_intercept_ = classical[:, :-1], classical[:, -1]
        self.coef_error_, self.intercept_error_ = errors[:, :-1], errors[:, -1]
        self.p_values_ = np.array([inference.p_values()[:-1] for inference in self.inference_])
        self.guess_rate_ = np.array([inference.guess_rate for inference in self.inference_])
        self.lapse_rate_ = np.array([inference.lapse_rate for inference in self.inference_])
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """log P(yes)/P(no), of the best prediction: (n,) or (n, n_responses)."""
        factors = self._validated(X)
        return self._shaped([inference.log_odds(factors) for inference in self.inference_])

    def predict_proba(self, X: ArrayLike) -> Array:
        """The best prediction: (n, 2) of the two labels, or (n, n_responses) of the second one.

        It allows for the uncertainty of the coefficients, so it is nearer to 1/2 than that of
        `coef_` and `intercept_`; no other function of the fitted logit has less cross-entropy.
        """
        log_odds = self.decision_function(X)
        return np.asarray(expit(log_odds) if self._several else expit(np.column_stack([-log_odds, log_odds])))

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Logarithms of `predict_proba`, also where that is 0 to rounding."""
        log_odds = self.decision_function(X)
        return np.asarray(log_expit(log_odds if self._several else np.column_stack([-log_odds, log_odds])))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The more probable label: (n,) or (n, n_responses)."""
        yes = self.decision_function(X) > 0
        return np.asarray(self.classes_[yes.astype(int)])

    def predict_interval(self, X: ArrayLike, level: float | None = None) -> Array:
        """(low, high) of the true probability of the second label: (n, 2) or (n, n_responses, 2)."""
        factors, level = self._validated(X), self._level(level)
        predictions = [inference.predict(factors, level) for inference in self.inference_]
        return self._shaped([np.column_stack([p.low, p.high]) for p in predictions])

    def conf_int(self, level: float | None = None) -> Array:
        """(low, high) of each weight in `coef_`: (n_responses, n_features, 2); the intercept's: `summary`."""
        check_is_fitted(self)
        level = self._level(level)
        return np.array([np.column_stack(inference.interval(level))[:-1] for inference in self.inference_])

    # --- tables; of several responses, one below the other

    def summary(self, level: float | None = None) -> pd.DataFrame:
        """All coefficients, the intercept first: estimate, error, test, interval, and the classical estimate."""
        check_is_fitted(self)
        level = self._level(level)
        limits = f"[{0.5 - level / 2:.4g}", f"{0.5 + level / 2:.4g}]"
        columns = ["coef", "std err", "z", "P>|z|", *limits, "classical coef"]
        tables = []
        for c in self.inference_:
            values = c.corrected, c.corrected_error, c.z, c.p_values(), *c.interval(level), c.estimate
            rows = np.roll(np.column_stack(values), 1, axis=0)
            tables.append(pd.DataFrame(rows, ["Intercept", *self._features], columns))
        return Summary(self._joined(tables))

    def questions(
        self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None, *, in_order: bool = True
    ) -> pd.DataFrame:
        """What the model may lack, by the trials it was fitted to: a test of each family of columns.

        Columns: family, df, statistic, p_value, gain (about what a model with it would gain, nats per trial);
        the largest gain first. groups: (n_trials,) sessions or observers; in_order: whether the trials are in
        the order in which they were run. `fit` asks what needs no order, and warns. Source:
        `hdlogit.inference.questions`.
        """
        factors, responses = self._trials(X, y)
        labels = None if groups is None else np.asarray(groups)
        return self._joined([pd.DataFrame(one) for one in self._ask(factors, responses, labels, in_order)])

    def joint_tests(self, X: ArrayLike, y: ArrayLike, *families: str) -> pd.DataFrame:
        """Has a family of factors any effect? By the trials the model was fitted to.

        families: patterns of names, as in "frame*" and "signal:frame*".
        Columns: factors (their number), chi2, p; a row for each family. Source: `hdlogit.inference.terms`.
        """
        (factors, responses), names = self._trials(X, y), self._features
        chosen = {one: [j for j, name in enumerate(names) if fnmatchcase(name, one)] for one in families}
        if wrong := [family for family, places in chosen.items() if not places]:
            raise ValueError(f"no factor is named {wrong[0]}; there are {', '.join(names[:NAMED])}")
        tables = []
        for c, y_k in zip(self.inference_, responses.T, strict=True):
            rows = [(len(places), *joint_test(c, places, factors, y_k)) for places in chosen.values()]
            tables.append(pd.DataFrame(rows, [*chosen], ["factors", "chi2", "p"]))
        return self._joined(tables)

    def threshold(
        self, X: ArrayLike, y: ArrayLike, at: Sequence[float] = (), level: float | None = None
    ) -> pd.DataFrame:
        """Threshold, slope, width, JND and estimated rates along the stimulus, by condition.

        X, y: the trials the model was fitted to, with one feature of more than two values, or of two; at:
        probabilities of yes whose x is wanted, too. Columns: stimulus, condition, quantity, estimate, low,
        high, note; no rows where no feature is such a stimulus. Source: `hdlogit.inference.threshold`.
        """
        (factors, responses), level = self._trials(X, y), self._level(level)
        along, tables = stimuli(factors, self._features), []
        for c, y_k in zip(self.inference_, responses.T, strict=True):
            rows = [row for one in along for row in thresholds(c, factors, y_k, one, level, at)]
            tables.append(pd.DataFrame(rows, columns=Estimate._fields))
        return self._joined(tables)

    def _joined(self, tables: list[pd.DataFrame]) -> pd.DataFrame:
        return pd.concat(tables, keys=self._names) if self._several else tables[0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = True
        return tags

    # --- what goes in

    def _check_parameters(self) -> None:
        choices = {"shrinkage": (0, "auto", "always"), "asymptotes": get_args(Asymptotes)}
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
        self._level(None)

    def _level(self, level: float | None) -> float:
        chosen = self.level if level is None else level
        if not 0 < chosen < 1:
            raise ValueError(f"level must be between 0 and 1, got {chosen!r}")
        return chosen

    def _responses(self, y: Any) -> NDArray[np.bool_]:
        """(n_trials, n_responses), whether y is the second label; sets `classes_`."""
        y = y.toarray() if hasattr(y, "toarray") else y  # scikit-learn's sparse indicators
        self._several = y.ndim == 2
        if not self._several:
            check_classification_targets(y)
            kind = type_of_target(y, input_name="y")
            if kind != "binary":
                line = f"Only binary classification is supported. The type of the target is {kind}."
                raise ValueError(line)  # the words that scikit-learn's checks look for
        self.classes_ = np.unique(y)
        if (count := len(self.classes_)) > 2:
            raise ValueError(f"y has {count} classes; two are needed, the same in all columns")
        responses = np.asarray(y == self.classes_[-1]).reshape(len(y), -1)
        alike = np.flatnonzero(responses.all(axis=0) | ~responses.any(axis=0))
        if alike.size:
            where = f"column {alike[0]} of y" if self._several else "y"
            raise ValueError(f"{where} has one class; two are needed")
        return responses

    def _validated(self, X: ArrayLike) -> NDArray[np.floating]:
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=(np.float64, np.float32), reset=False))

    def _trials(self, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
        """What the model was fitted to. Raises ValueError for another number of trials."""
        factors = self._validated(X)
        if len(factors) != self._n_trials:
            wanted = f"X must be the {self._n_trials} trials of the fit, each as often as sample_weight said"
            raise ValueError(f"{wanted}, got {len(factors)}")
        return factors, np.asarray(np.asarray(y) == self.classes_[-1]).reshape(len(factors), -1)

    # --- what follows

    def _infer(
        self, X: NDArray[np.floating], responses: NDArray[np.bool_], coefficients: Array
    ) -> list[ClassInference]:
        """Inference of every response; those with and without shrinkage are separate problems."""
        inferences: dict[int, ClassInference] = {}
        for shrinkage in np.unique(self.shrinkage_):
            chosen = np.flatnonzero(self.shrinkage_ == shrinkage)
            y, fitted = responses[:, chosen], coefficients[:, chosen]
            rates = self.asymptotes, self.guess_rate, self.lapse_rate
            results = infer(X, y, fitted, self.ridge, float(shrinkage), *rates, self._features)
            inferences |= zip(chosen.tolist(), results, strict=True)
        for k, c in inferences.items():
            if c.reason and (self.guess_rate or self.lapse_rate):  # the fit knows no rates
                line = f"no answer with the guess and lapse rates given: {c.reason}"
                raise ValueError(self._line(k, line))
            if c.reason:  # errors and tests are NaN
                fitted = coefficients[:, k]
                inferences[k] = replace(c, estimate=fitted, corrected=fitted, predictor=fitted)
        return [inferences[k] for k in sorted(inferences)]

    def _ask(
        self,
        X: NDArray[np.floating],
        responses: NDArray[np.bool_],
        groups: NDArray[Any] | None,
        in_order: bool,
    ) -> list[list[Question]]:
        """What the model of each response may lack; nothing where that was not corrected."""
        pairs = zip(self.inference_, responses.T, strict=True)
        return [questions(c, X, y, self._features, groups, in_order=in_order) for c, y in pairs]

    def _missing(self, X: NDArray[np.floating], responses: NDArray[np.bool_]) -> Iterator[str]:
        """A line for each response whose model lacks something that can be told without the trials' order."""
        for k, asked in enumerate(self._ask(X, responses, None, in_order=False)):
            gain = usefulness(self.inference_[k], X, responses[:, k]).gain if asked else 0.0
            if lacking := missing(asked, gain, responses.shape[1]):
                yield self._line(k, sentence(lacking, gain))

    def _warnings(self, k: int, separating: list[int]) -> Iterator[str]:
        """What is unusual in the fit to response k; separating: the factors that separate it."""
        if self.shrinkage != "always" and self.shrinkage_[k]:
            names = [self._features[j] for j in separating]
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            by = f" (separated by {', '.join(names[:NAMED])}{more})" if names else ""
            fitted = f"fitted with shrinkage {self.shrinkage_[k]:.3g} of its responses"
            yield f"no maximum-likelihood estimate exists{by}; {fitted}"
        inference = self.inference_[k]
        if inference.reason:
            yield f"not corrected: {inference.reason}; coefficients are as fitted, without errors and tests"
        if inference.note:
            yield inference.note

    def _shaped(self, columns: list[Array]) -> Array:
        return np.stack(columns, axis=1) if self._several else columns[0]

    def _line(self, k: int, text: str) -> str:
        """A line about response k."""
        return f"{self._names[k]}: {text}" if self._several else text


def _repeated(sample_weight: ArrayLike, n: int) -> NDArray[np.intp]:
    """Indices of rows, each as often as its weight says."""
    times = np.asarray(sample_weight, np.float64)
    if times.shape != (n,) or not ((times >= 0) & (times < 2**53) & (times == np.floor(times))).all():
        line = f"sample_weight must be {n} whole numbers, how often each trial occurred"
        raise ValueError(f"{line}; for other weights no theory gives errors and intervals")
    if not times.any():
        raise ValueError("sample_weight is zero for every trial, so there is nothing to fit")
    return np.repeat(np.arange(n), times.astype(np.intp))
