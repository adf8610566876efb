"""What the metrics of a run mean, in words for the page. docs/metrics.md says more."""

from __future__ import annotations

from collections.abc import Mapping

Meanings = Mapping[str, tuple[str, str]]  # key -> what it is, and how to read it

RECOVERY: Meanings = {
    "weight_slope": ("Weight slope", "fitted on true weights: 1 if of the right size"),
    "weight_correlation": ("Weight correlation", "of fitted with true weights; blind to their size"),
    "weight_rmse": ("Weight error", "root mean square, in logits per unit of a factor"),
    "bias_rmse": ("Bias error", "root mean square, in logits"),
    "residual_sd": ("Residual of the weights", "root mean square about their slope on the true ones"),
}
INTERVALS: Meanings = {
    "level": ("Nominal coverage", "what the intervals promise"),
    "classical_coverage": ("Coverage of classical intervals", "fraction of the true weights inside"),
    "coverage": ("Coverage of corrected intervals", "fraction of the true weights inside"),
}
PREDICTIONS: Meanings = {
    "cross_entropy": ("Cross-entropy", "mean −ln P(response), in nats; the lower, the better"),
    "bayes_cross_entropy": ("Cross-entropy of the true observer", "the floor: no prediction can do better"),
    "excess_cross_entropy": ("Excess cross-entropy", "mean Kullback-Leibler divergence, true from fitted"),
    "accuracy": ("Accuracy", "fraction of responses on the likelier side"),
    "brier": ("Brier score", "mean squared difference of response and probability"),
    "calibration_slope": ("Calibration slope", "1 if calibrated; below 1: overconfident"),
    "calibration_intercept": ("Calibration intercept", "0 if calibrated"),
    "calibration_error": ("Calibration error", "mean distance of observed from predicted fractions, by bins"),
}
TRAINING: Meanings = {
    "cross_entropy": ("Cross-entropy", "in nats; flatters the fit, which has seen these trials"),
}
REPLICATION: Meanings = {
    "plain_slope": ("Slope of classical weights", "one group's on those of all others: 1 if alike"),
    "plain_slope_error": ("Its standard error", "by the jackknife over groups"),
    "plain_heterogeneity_p": ("p-value of one slope", "that all groups have the same"),
    "corrected_slope": ("Slope of corrected weights", "likewise"),
    "corrected_slope_error": ("Its standard error", "by the jackknife over groups"),
    "corrected_heterogeneity_p": ("p-value of one slope", "that all groups have the same"),
    "coverage": ("Coverage", "fraction of a group's weights whose interval holds the others'"),
    "groups_without_estimate": ("Groups without an estimate", "their trials alone are too few"),
    "shared_stimuli": ("Shared stimuli", "shown in more than one group: these are not independent"),
    "double_pass_agreement": ("Double-pass consistency", "fraction of pairs of such trials with the same response"),
}
THEORY: Meanings = {
    "n_trials": ("Training trials", ""),
    "kappa": ("Factors per trial, κ", ""),
    "signal": ("Signal, γ", "estimated standard deviation of the true logits"),
    "existence_threshold": ("Existence threshold", "κ must be smaller for an estimate to exist"),
    "smallest_n_trials": ("Fewest trials", "below which no estimate exists"),
    "certificate": ("Certificate", "below 1/2 it proves that an estimate exists; 0 with ridge or shrinkage"),
    "weight_slope": ("Weight slope", "of classical weights on the true ones"),
    "residual_sd": ("Residual of the weights", "root mean square about that slope"),
    "train_cross_entropy": ("Cross-entropy of training trials", "in nats"),
    "test_cross_entropy": ("Cross-entropy of new trials, classical fit", "in nats"),
    "test_debiased_cross_entropy": ("Cross-entropy of new trials, corrected weights", "in nats"),
    "test_best_cross_entropy": ("Cross-entropy of new trials, best prediction", "in nats"),
    "bayes_cross_entropy": ("Cross-entropy of the true observer", "in nats"),
    "classical_coverage": ("Coverage of classical intervals", "fraction of the true weights inside"),
}
SOLVER: Meanings = {
    "converged": ("Converged", "whether it reached train.tolerance"),
    "max_gradient": ("Largest gradient", "of a class's loss, by standardised factors; of Adam as they are"),
    "ridge": ("Ridge", "its strength"),
    "classes_without_estimate": ("Classes without an estimate", "left out"),
}

SECTIONS: Mapping[str, tuple[str, Meanings]] = {  # of metrics.json, in the page's order
    "recovery": ("Coefficients against the truth", RECOVERY),
    "inference": ("Intervals", INTERVALS),
    "test": ("Predictions of held-out trials", PREDICTIONS),
    "loo": ("Predictions of each training trial by the fit to all others", PREDICTIONS),
    "train": ("Training trials", TRAINING),
    "replication": ("Groups against one another", REPLICATION),
    "theory": ("What to expect, from the data alone", THEORY),
    "fit": ("The solver", SOLVER),
}
COLUMNS = {  # scores of other fits, beside those of the classical one
    "debiased": "corrected weights",
    "best": "best prediction",
    "corrected": "corrected weights",
}
