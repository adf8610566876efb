"""What a paper says of a run: methods with its numbers, its weights as tables, how many tests, references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from stages.files.account import counted, lacking, named
from stages.page.render import HERE, column_groups, fixed, largest, number

MOST = 200  # rows of a table
RATES = "guess_rate", "lapse_rate"
MATHS = {"−": "$-$", "<": "$<$", ">": "$>$", "∞": r"$\infty$"}  # what LaTeX has in math mode only

Parameters = Mapping[str, Any]
Tables = Mapping[str, pd.DataFrame]


def paper(
    parameters: Parameters,
    metrics: Mapping[str, Any],
    account: Mapping[str, Any] | None,
    tables: Tables,
    answer: Sequence[str],
) -> str:
    """Markdown: the arguments are those of `render`."""
    shown = tables["shown"]
    several = shown["class"].nunique() > 1
    groups = {kind: columns for _, kind, columns in column_groups(shown, metrics) if kind != "truth"}
    rows = largest(shown, [column for columns in groups.values() for column in columns], MOST)
    exact = shown.loc[rows.index].to_csv(index=False)
    heads = [word for kind, columns in groups.items() for word in (kind, *[*columns.values()][1:])]
    rows.columns = pd.Index(["class", "factor", *heads])
    rows = rows if several else rows.drop(columns="class")
    latex = rows.to_latex(index=False, escape=True, column_format="l" + "r" * (len(rows.columns) - 1))
    for sign, maths in MATHS.items():
        latex = latex.replace(sign, maths)
    said = " ".join(methods(parameters, metrics, account, tables))
    parts = ["# For the paper", *(f"> {line}" for line in answer), "## Methods", said, "## Weights"]
    parts += [rows.replace(r"\|", r"\|", regex=True).to_markdown(index=False, disable_numparse=True)]
    parts += [f"```latex\n{latex}```", f"```csv\n{exact}```"]
    if len(shown) > MOST:
        parts += [f"The {MOST} largest of {len(shown)} coefficients; all are in the CSV files of coefficients."]
    if "inference" in metrics:
        parts += ["## Tests", tests(shown, len(tables.get("inference/questions", ())))]
    software, *papers = (HERE / "references.txt").read_text(encoding="utf-8").splitlines()
    cited = [software, *(one for one in papers if f"{one.split()[0]} " in said)]  # whose first author is named
    return "\n\n".join([*parts, "## References", "\n".join(f"- {one}" for one in cited)])


def methods(
    parameters: Parameters, metrics: Mapping[str, Any], account: Mapping[str, Any] | None, tables: Tables
) -> Iterator[str]:
    """What was done, in sentences."""
    shown, train = tables["shown"], parameters["train"]
    classes = [*dict.fromkeys(shown["class"])]
    n_factors = len(shown) // len(classes) - 1
    n_trials = account["trials"]["train"] if account else parameters["simulate"]["n_trials"]
    response = named(classes[0], "response") if len(classes) == 1 else f"{len(classes)} yes/no responses"
    how = "maximum likelihood"
    if train["solver"] == "adam":
        how = f"gradient descent (Adam, {train['num_epochs']} epochs), without intervals"
    elif metrics["fit"]["ridge"]:
        how = f"penalised likelihood (ridge {metrics['fit']['ridge']:.3g})"
    if train["shrinkage"] != 0:
        how += ", with responses shrunk towards 1/2"
        how += " if no estimate exists otherwise" if train["shrinkage"] == "auto" else ""
    yield (
        f"We fitted the probability of {response} in {number(n_trials)} trials as a logistic function of "
        f"{counted(n_factors, 'factor')} and a bias, by {how}."
    )
    if (of_classes := tables.get("inference/classes")) is not None:
        yield from corrections(of_classes, parameters["evaluate"], metrics)
    if (use := tables.get("inference/usefulness")) is not None:
        yield (
            "With each trial predicted as well as the fit to all others allows, cross-entropy was "
            f"{between(use.best, 3)} nats per trial ({between(use.constant, 3)} of a constant; "
            f"R² {between(use.r_squared, 2)}; {between(use.classical, 3)} of the uncorrected fit)."
        )
    if account:
        yield from left_out(account)


def corrections(classes: pd.DataFrame, evaluate: Parameters, metrics: Mapping[str, Any]) -> Iterator[str]:
    """How weights were corrected, and for which rates."""
    estimated = [name for name in RATES if classes.rates_estimated.any() and evaluate[name] == "auto"]
    if estimated or classes[[*RATES]].to_numpy().any():
        how = {name: "estimated" if name in estimated else "fixed" for name in RATES}
        guess, lapse = (f"{between(classes[name], 3)} ({how[name]})" for name in RATES)
        yield f"The guess rate was {guess}, the lapse rate {lapse}."
    per_trial = f"There were {metrics['theory']['kappa']:.3g} factors per trial; weights were"
    level = f"{100 * metrics['inference']['level']:g} % intervals"
    if classes.fitted_jointly.all():
        yield (
            f"{per_trial} corrected by a fit of weights, bias and the rates that were estimated together, with "
            f"the priors of Schütt et al. (2016) for rates; {level} are those of likelihood ratios."
        )
    else:
        yield (
            f"{per_trial} corrected for the factor α = {between(classes.alpha, 3)} by which weights of such "
            "fits differ from the true ones on average (Sur & Candès 2019), estimated from leave-one-out "
            f"logits (Yadlowsky et al. 2021); {level} hold the noise of each weight (Bellec 2022) and the "
            "error of α."
        )


def between(values: pd.Series, decimals: int) -> str:
    """`0.12`, or of several different ones `0.12 to 0.34`."""
    return " to ".join(dict.fromkeys(fixed(end, decimals) for end in (values.min(), values.max())))


def left_out(account: Mapping[str, Any]) -> Iterator[str]:
    """Why trials of the file are not in the fit."""
    trials, columns = account["trials"], ", ".join(name for name, *_ in lacking(account))
    for n, why in (
        (
            trials["read"] - trials["taken"],
            f"of {number(trials['read'])} trials were left out by the choice of conditions",
        ),
        (trials["taken"] - trials["used"], f"trials were left out because a value was missing ({columns})"),
        (trials["test"], "trials were held out"),
    ):
        if n:
            yield f"{number(n)} {why}."


def tests(shown: pd.DataFrame, n_asked: int) -> str:
    """How many p-values there are, and what chance alone would make of them."""
    p = shown.p[(shown.factor != "bias") & shown.p.notna()]
    few = 0.05 / max(len(p), 1)
    return (
        f"Tests of weights: {len(p)}; {sum(p < 0.05)} have p < 0.05, where chance alone gives {0.05 * len(p):.1f}; "
        f"{sum(p < few)} have p < {few:.2g}, which chance gives in one of 20 such studies (Bonferroni). Besides, "
        f"{counted(n_asked, 'question')} to the model {'was' if n_asked == 1 else 'were'} tested."
    )
