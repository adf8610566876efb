"""What the numbers and the figures of a run mean, in words for the page. docs/metrics.md says more."""

from __future__ import annotations

from collections.abc import Mapping

Meanings = Mapping[str, tuple[str, str]]  # key -> what it is, and how to read it

PREDICTIONS: Meanings = {
    "cross_entropy": ("Cross-entropy", "mean −log P(response) in nats; the lower, the better"),
    "bayes_cross_entropy": ("Cross-entropy of the true observer", "the floor: no prediction can do better"),
    "excess_cross_entropy": ("Excess cross-entropy", "mean Kullback-Leibler divergence, true from fitted"),
    "accuracy": ("Accuracy", "fraction of responses on the likelier side"),
    "brier": ("Brier score", "mean squared difference of response and probability"),
    "calibration_slope": ("Calibration slope", "1 if calibrated; below 1: overconfident"),
    "calibration_intercept": ("Calibration intercept", "0 if calibrated"),
    "calibration_error": ("Calibration error", "mean distance of observed from predicted fractions, by bins"),
}

SECTIONS: Mapping[str, tuple[str, Meanings]] = {  # of metrics.json
    "recovery": (
        "Coefficients against the truth",
        {
            "weight_slope": ("Weight slope", "fitted on true weights: 1 if of the right size"),
            "weight_correlation": ("Weight correlation", "of fitted with true weights; blind to their size"),
            "weight_rmse": ("Weight error", "root mean square, in logits per unit of a factor"),
            "bias_rmse": ("Bias error", "root mean square, in logits"),
            "residual_sd": ("Residual of the weights", "root mean square about their slope on the true ones"),
        },
    ),
    "inference": (
        "Intervals",
        {
            "level": ("Nominal coverage", "what the intervals promise"),
            "classical_coverage": ("Coverage of classical intervals", "fraction of the true weights inside"),
            "coverage": ("Coverage of corrected intervals", "fraction of the true weights inside"),
        },
    ),
    "test": ("Predictions of held-out trials", PREDICTIONS),
    "loo": ("Predictions of each training trial by the fit to all others", PREDICTIONS),
    "train": (
        "Training trials",
        {"cross_entropy": ("Cross-entropy", "in nats; flatters the fit, which has seen these trials")},
    ),
    "replication": (
        "Groups against one another",
        {
            "plain_slope": ("Slope of plain weights", "one group's on those of all others: 1 if they replicate"),
            "plain_slope_error": ("Its standard error", "over the groups"),
            "corrected_slope": ("Slope of corrected weights", "likewise"),
            "corrected_slope_error": ("Its standard error", "over the groups"),
            "coverage": ("Coverage", "fraction of a group's weights whose interval holds the others'"),
            "groups_without_estimate": ("Groups without an estimate", "their trials alone are too few"),
            "groups_undetermined": ("Groups left out of the slopes", "the slope's standard error is above 1"),
        },
    ),
    "theory": (
        "What to expect, from the data alone",
        {
            "n_trials": ("Training trials", ""),
            "kappa": ("Factors per trial, κ", ""),
            "signal": ("Signal, γ", "estimated standard deviation of the true logits"),
            "existence_threshold": ("Existence threshold", "κ must be smaller for an estimate to exist"),
            "smallest_n_trials": ("Fewest trials", "below which no estimate exists"),
            "certificate": (
                "Certificate",
                "below 1/2 it proves that an estimate exists; 0 with ridge or shrinkage",
            ),
            "weight_slope": ("Weight slope", "of plain weights on the true ones"),
            "residual_sd": ("Residual of the weights", "root mean square about that slope"),
            "train_cross_entropy": ("Cross-entropy of training trials", "in nats"),
            "test_cross_entropy": ("Cross-entropy of new trials, plain fit", "in nats"),
            "test_debiased_cross_entropy": ("Cross-entropy of new trials, debiased weights", "in nats"),
            "test_best_cross_entropy": ("Cross-entropy of new trials, best prediction", "in nats"),
            "bayes_cross_entropy": ("Cross-entropy of the true observer", "in nats"),
            "classical_coverage": ("Coverage of classical intervals", "fraction of the true weights inside"),
        },
    ),
    "fit": (
        "The solver",
        {
            "converged": ("Converged", "whether it reached train.tolerance"),
            "max_gradient": (
                "Largest gradient",
                "of a class's loss, by standardised factors (after Adam: by the factors as they are)",
            ),
            "ridge": ("Ridge", "its strength"),
            "classes_without_estimate": ("Classes without an estimate", "left out"),
        },
    ),
}

COLUMNS = {"debiased": "debiased weights", "best": "best prediction", "corrected": "debiased weights"}  # beside the fit

FIGURES: Mapping[str, tuple[str, str]] = {  # in the page's order: what it shows, and how to read it
    "intervals": (
        "Classical and corrected intervals of the weights of one class against the true weights",
        "An interval holds the truth if it crosses the dashed line. Classical ones are centred on weights that are "
        "too large, and too short.",
    ),
    "trajectory": (
        "Cross-entropy of training and held-out trials over the epochs",
        "While training goes on, training trials are fitted ever better. Where the other curve rises again, the fit "
        "learns noise; the star marks the epoch at which one should have stopped.",
    ),
    "forest": (
        "Forest plot of the weights of one class",
        "A row per factor, the largest at both ends. Bars are intervals; one that crosses zero leaves the sign open."
        " An arrow has no end.",
    ),
    "recovery": (
        "Fitted against true coefficients",
        "Points along a line steeper than the dashed one mean that all weights are too large by the same factor.",
    ),
    "coverage": (
        "Fraction of the true weights inside their intervals, by class",
        "Intervals that keep their promise lie about the dashed line.",
    ),
    "calibration": (
        "Observed against predicted probability of yes",
        "On the dashed line, predictions mean what they say. A flatter line: they are too sure of themselves.",
    ),
    "predictions": (
        "Calibration of the plain fit, of debiased weights and of the best prediction",
        "Weights of the right size still predict too boldly where each of them has an error; the best prediction "
        "shrinks them further.",
    ),
    "psychometric": (
        "Psychometric curve of one class: fraction of yes over the fitted index",
        "Points off the curve show what a logistic function misses: guesses, lapses, another shape.",
    ),
    "planning": (
        "Error of the weights and of predictions to expect of other numbers of trials",
        "How much more trials would help, and how much a correction does without them.",
    ),
    "map": (
        "How much too large weights come out, over signal and factors per trial",
        "The star is this experiment. Upwards, with fewer trials per factor, weights come out larger, until no "
        "estimate exists.",
    ),
    "biases": ("Bias of every class", "Where weights come out too large, biases do by about the same factor."),
    "probabilities": (
        "Histogram of the probability of yes",
        "How many responses were all but certain (left and right) and how many were open (middle).",
    ),
    "loss": (
        "Training loss over the epochs",
        "Where it falls below the true observer's cross-entropy, the fit follows the noise.",
    ),
    "replication": (
        "Slope of each group's weights on those of all other groups",
        "About 1, the groups replicate one another; above, weights of one group alone are too large.",
    ),
    "weights": (
        "All weights of one class, sorted",
        "Where the truth is known, it is black: weights that are too large lie beyond it at both ends.",
    ),
}
