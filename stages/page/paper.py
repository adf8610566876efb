"""What a paper says of a run: methods with its numbers, its weights as tables, how many tests, references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from stages.files.account import counted, lacking, named
from stages.page.render import fixed, number, p_value

SOFTWARE = (
    "The hdlogit authors: hdlogit: can the coefficients of a logistic regression be trusted? "
    "Version 0.1.0 (CITATION.cff)."
)
PAPERS = (  # those whose first author the methods name are cited
    "Bellec PC (2022): Observable adjustments in single-index models for regularized M-estimators. "
    "https://doi.org/10.48550/arXiv.2204.06990",
    "Schütt HH, Harmeling S, Macke JH, Wichmann FA (2016): Painfree and accurate Bayesian estimation of psychometric "
    "functions for (potentially) overdispersed data. Vision Research 122. https://doi.org/10.1016/j.visres.2016.02.002",
    "Sur P, Candès EJ (2019): A modern maximum-likelihood theory for high-dimensional logistic regression. "
    "PNAS 116. https://doi.org/10.1073/pnas.1810420116",
    "Yadlowsky S, Yun T, McLean CY, D'Amour A (2021): SLOE: a faster method for statistical inference in "
    "high-dimensional logistic regression. NeurIPS 34. https://doi.org/10.48550/arXiv.2103.12725",
)
MOST = 200  # rows of a table
RATES = "guess_rate", "lapse_rate"
PER_FACTOR, MOST_FACTORS = 50, 100  # trials, and factors, of `hdlogit.inference.joint.is_for_joint_fit`
MATHS = {"−": "$-$", "<": "$<$", ">": "$>$", "∞": r"$\infty$"}  # what LaTeX has in math mode only


def paper(
    parameters: Mapping[str, Any],
    metrics: Mapping[str, Any],
    account: Mapping[str, Any] | None,
    tables: Mapping[str, pd.DataFrame],
    answer: Sequence[str],
) -> str:
    """Markdown: the arguments are those of `render`."""
    shown, has_inference = tables["shown"], "inference" in metrics
    rows = cells(shown)
    markdown = rows.replace(r"\|", r"\|", regex=True).to_markdown(
        index=False,
        colalign=["left" if name in ("class", "factor") else "right" for name in rows],
        disable_numparse=True,
    )
    latex = rows.to_latex(index=False, escape=True, column_format="l" + "r" * (len(rows.columns) - 1))
    for sign, maths in MATHS.items():
        latex = latex.replace(sign, maths)
    told = " ".join(methods(parameters, metrics, account, tables))
    parts = ["# For the paper", *(f"> {line}" for line in answer), "## Methods", told, "## Weights"]
    parts += [markdown, f"```latex\n{latex}```", f"```csv\n{shown[:MOST].to_csv(index=False)}```"]
    if len(shown) > MOST:
        parts += [f"The first {MOST} of {len(shown)} coefficients; all are in the CSV files of coefficients."]
    if has_inference:
        parts += ["## Tests", tests(shown, tables)]
    papers = [one for one in PAPERS if f"{one.split()[0]} " in told]
    parts += ["## References", "\n".join(f"- {one}" for one in (SOFTWARE, *papers))]
    return "\n\n".join(parts)


def methods(
    parameters: Mapping[str, Any],
    metrics: Mapping[str, Any],
    account: Mapping[str, Any] | None,
    tables: Mapping[str, pd.DataFrame],
) -> list[str]:
    """What was done, in sentences."""
    shown, train, evaluate = tables["shown"], parameters["train"], parameters["evaluate"]
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
    lines = [
        f"We fitted the probability of {response} in {number(n_trials)} trials as a logistic function of "
        f"{counted(n_factors, 'factor')} and a bias, by {how}."
    ]
    found, use = tables.get("inference/classes"), tables.get("inference/usefulness")
    if found is not None:
        estimated, level = evaluate["asymptotes"] != "none", f"{100 * metrics['inference']['level']:g} % intervals"
        hows = {name: "estimated" if estimated and evaluate[name] == "auto" else "fixed" for name in RATES}
        has_rates = "estimated" in hows.values() or bool(found[[*RATES]].to_numpy().any())
        if has_rates:
            guess, lapse = (f"{between(found[name], 3)} ({how})" for name, how in hows.items())
            lines += [f"The guess rate was {guess}, the lapse rate {lapse}."]
        per_trial = f"There were {metrics['theory']['kappa']:.3g} factors per trial; weights were"
        if has_rates and n_factors <= min(n_trials / PER_FACTOR, MOST_FACTORS):
            lines += [
                f"{per_trial} corrected by a fit of weights, bias and the rates that were estimated together, with the "
                f"priors of Schütt et al. (2016) for rates; {level} are those of likelihood ratios."
            ]
        else:
            lines += [
                f"{per_trial} corrected for the factor α = {between(found.alpha, 3)} by which weights of such fits "
                "differ from the true ones on average (Sur & Candès 2019), estimated from leave-one-out logits "
                f"(Yadlowsky et al. 2021); {level} hold the noise of each weight (Bellec 2022) and the error of α."
            ]
    if use is not None:
        lines += [
            "With each trial predicted as well as the fit to all others allows, cross-entropy was "
            f"{between(use.best, 3)} nats per trial ({between(use.constant, 3)} of a constant; "
            f"R² {between(use.r_squared, 2)}; {between(use.classical, 3)} of the uncorrected fit)."
        ]
    return lines + (left_out(account) if account else [])


def between(values: pd.Series, decimals: int) -> str:
    """`0.12`, or of several different ones `0.12 to 0.34`."""
    return " to ".join(dict.fromkeys(fixed(end, decimals) for end in (values.min(), values.max())))


def left_out(account: Mapping[str, Any]) -> list[str]:
    """Why trials of the file are not in the fit."""
    trials, columns = account["trials"], ", ".join(name for name, *_ in lacking(account))
    whys = {
        f"of {number(trials['read'])} trials were left out by the choice of conditions": trials["read"]
        - trials["taken"],
        f"trials were left out because a value was missing ({columns})": trials["taken"] - trials["used"],
        "trials were held out": trials["test"],
    }
    return [f"{number(n)} {why}." for why, n in whys.items() if n]


def cells(shown: pd.DataFrame) -> pd.DataFrame:
    """Factor, weight, interval and p as text, the classical ones beside them; of several classes which."""
    table = shown[:MOST]
    rows = table[["class", "factor"]] if shown["class"].nunique() > 1 else table[["factor"]]
    if "corrected" not in table:
        return rows.assign(weight=[fixed(x, 3) for x in table.fitted])
    for words, weight, low, high, p in (
        ("corrected", "corrected", "low", "high", "p"),
        ("classical", "estimate", "classical_low", "classical_high", "classical_p"),
    ):
        ends = zip(table[low], table[high], strict=True)
        columns = {
            words: [fixed(x, 3) for x in table[weight]],
            f"{words} interval": [f"{fixed(a, 3)} to {fixed(b, 3)}" for a, b in ends],
            f"{words} p": [p_value(x) for x in table[p]],
        }
        rows = rows.assign(**columns)
    return rows


def tests(shown: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> str:
    """How many p-values there are, and what chance alone would make of them."""
    p = shown.p[(shown.factor != "bias") & shown.p.notna()]
    few = 0.05 / max(len(p), 1)
    asked = len(tables.get("inference/questions", ()))
    return (
        f"{counted(len(p), 'weight')} {'was' if len(p) == 1 else 'were'} tested: {sum(p < 0.05)} have p < 0.05, where "
        f"chance alone gives {0.05 * len(p):.1f}; {sum(p < few)} have p < {few:.2g}, which chance gives in one of 20 "
        f"such studies (Bonferroni). Besides, {counted(asked, 'question')} to the model "
        f"{'was' if asked == 1 else 'were'} tested."
    )
