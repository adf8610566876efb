"""A group of experiments against the parameter it varies: a figure and, as Markdown, a table over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from comparisons.git import Outcome
from hdlogit.asymptotics.planning import plan, smallest_n_trials
from stages.figures.style import CLASSICAL, FAINT, TRUTH, legend_below, logarithmic, panels, saved

Observer = tuple[int, float]  # the number of factors, and γ: the sd of the logits

SEED, N_TRIALS, FLOOR = "simulate.seed", "simulate.n_trials", "test.bayes_cross_entropy"
METRICS = {"recovery.weight_slope": "alpha", "test.cross_entropy": "held_out"}  # and as `plan` calls them
LABELS = {
    N_TRIALS: "training trials",
    "train.num_epochs": "epochs of Adam",
    "train.ridge": "ridge (ridge/2 |weights|² per class, nats)",
    "recovery.weight_slope": "weight slope (1: right size)",
    "test.cross_entropy": "held-out cross-entropy (nats)",
}
THEORY = "#009E73"  # Okabe & Ito


def make(out: Path, parameter: str, fits: Sequence[Outcome]) -> None:
    """Writes <out>.png and .md. fits: of experiments that differ in this parameter, and in their seeds."""
    rows = [{"value": fit.params[parameter], "seed": fit.params[SEED], **numbers(fit)} for fit in fits]
    points = pd.DataFrame(rows)
    observer, tables = observer_of(fits[0].params) if parameter == N_TRIALS else None, []
    out.parent.mkdir(parents=True, exist_ok=True)
    with saved(out.with_suffix(".png"), dpi=150) as figure:
        axes = panels(figure, 5.6, 1 + 2.5 * len(METRICS), nrows=len(METRICS))
        points["at"] = points["value"].map(positions(axes[-1], points["value"].unique()))
        for ax, metric in zip(axes, METRICS, strict=True):
            table = over_seeds(points, metric)
            draw(ax, points, metric, table, joined=observer is None)
            if observer:
                draw_theory(ax, metric, observer)
                table["theory"] = expected(metric, observer, table["value"])
            if metric == "test.cross_entropy" and not isinstance(rows[0]["value"], bool | str):
                ax.axhline(points[FLOOR].mean(), color=FAINT, lw=1, ls="--", label="true observer")
            ax.set_ylabel(LABELS[metric])
            tables.append(table)
        axes[-1].set_xlabel(LABELS.get(parameter, parameter))
        legend_below(*axes)
    whole = pd.concat(tables).rename(columns={"value": parameter}).dropna(axis="columns", how="all")
    whole[parameter] = whole[parameter].map(written)
    cells = whole.astype(object).where(whole.notna(), None)
    text = cells.to_markdown(index=False, floatfmt=".4g", missingval="-")
    out.with_suffix(".md").write_text(f"{text}\n", encoding="utf-8")


def numbers(fit: Outcome) -> dict[str, float]:
    """The metrics; NaN where a class has no estimate, as the others alone would be biased by selection."""
    converged = fit.metrics.get("fit.converged") or fit.params["train.solver"] == "adam"
    return {name: fit.metrics.get(name, math.nan) if converged else math.nan for name in (*METRICS, FLOOR)}


def over_seeds(points: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Per value; mean and sd (n - 1) only where every seed has an estimate, as others are not representative."""
    y = points.groupby("value", sort=False)[metric]
    without = y.size() - y.count()
    columns = {
        "metric": metric,
        "seeds": y.size(),
        "no estimate": without.astype("Int64").mask(without == 0),
        "mean": y.mean().where(without == 0),
        "sd": y.std().where(without == 0),
        "lowest": y.min(),
        "highest": y.max(),
    }
    return pd.DataFrame(columns).reset_index()


def draw(ax: Axes, points: pd.DataFrame, metric: str, table: pd.DataFrame, *, joined: bool) -> None:
    """Every seed, and the mean over seeds; at the bottom a cross where a seed has no estimate.

    `joined`: the points of a seed are, as it has one observer and one set of trials throughout, so that
    differences along its line are due to the parameter. Else means have bars of one sd each way.
    """
    look: dict[str, Any] = {"marker": ".", "ms": 4, "lw": 0.8, "alpha": 0.6, "color": CLASSICAL}
    for _, seed in points.groupby("seed", sort=False):
        ax.plot(seed["at"], seed[metric], ls="-" if joined else "none", **look)
    bars, label = (None, "mean over seeds") if joined else (table["sd"].fillna(0), "mean over seeds, ± sd")
    means: dict[str, Any] = {"fmt": "s", "ms": 5, "mfc": "none", "capsize": 3, "color": CLASSICAL}
    ax.errorbar(points["at"].unique(), table["mean"], bars, label=label, **means)
    absent = points.loc[points[metric].isna(), "at"].unique()
    if absent.size:
        bottom, label = ax.get_xaxis_transform(), "a seed without estimate"
        ax.plot(absent, 0 * absent, "x", transform=bottom, color=TRUTH, clip_on=False, label=label)
        ax.update_datalim([(x, points[metric].min()) for x in absent])  # so that the axis includes them
        ax.autoscale_view()


def positions(ax: Axes, values: Sequence[Any]) -> dict[Any, float]:
    """Positions on x: positive numbers on a logarithmic axis; others, and words, side by side."""
    if all(not isinstance(value, bool | str) and value > 0 for value in values):
        logarithmic(ax.xaxis)
        return {value: float(value) for value in values}
    ax.set_xticks(range(len(values)), map(written, values))
    return {value: float(i) for i, value in enumerate(values)}


def written(value: object) -> str:
    """A parameter's value as a person writes it in params.yaml."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- theory


def observer_of(params: Mapping[str, Any]) -> Observer | None:
    """Simulate's observer, whose γ is weight_scale √n_factors.

    None where theory is not of this fit: it is of maximum likelihood, without guesses and lapses.
    """
    likelihood = params["train.solver"] == "exact" and params["train.shrinkage"] != "always"
    zeros = [params[key] for key in ("train.ridge", "simulate.guess_rate", "simulate.lapse_rate")]
    p, scale = params["simulate.n_factors"], params["simulate.weight_scale"]
    return (p, scale * math.sqrt(p)) if likelihood and zeros == [0, 0, 0] else None


def expected(metric: str, observer: Observer, n_trials: Iterable[float]) -> list[float | None]:
    """The metric at each number of trials; None where no estimate exists."""
    lines = plan(*observer, 0.5, [round(n) for n in n_trials])  # a yes in every second trial
    return [getattr(line, METRICS[metric]) for line in lines]


def draw_theory(ax: Axes, metric: str, observer: Observer) -> None:
    """What theory expects of a fit, and from how many trials on there is one."""
    (low, high), (bottom, top), first = ax.get_xlim(), ax.get_ylim(), smallest_n_trials(*observer)
    ax.axvline(first, color=TRUTH, lw=1, ls=":", label=f"fewer than {first}: by theory none exists")
    x = first * (1 + np.geomspace(0.005, max(high / first - 1, 0.1), 80))  # denser where it is steep
    ax.plot(x, np.array(expected(metric, observer, x), float), color=THEORY, label="theory")
    ax.set(xlim=(low, high), ylim=(bottom, top))  # the points decide: theory goes to infinity
