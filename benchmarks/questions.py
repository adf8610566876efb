"""Is the answer right? False alarms on clean observers, what is found of others, and the verdict on both.

    python -m benchmarks.questions --replicates 60      a line each; half an hour
    python -m benchmarks.questions history squares      only those whose names have these words
    python -m benchmarks.questions iris --replicates 500 --seed 99      other responses

Clean designs: responses follow the model, trials are in eight groups. A family of tests should reject in 5 % of
replicates at .05, all together (Bonferroni) in about as many. `wrong` is a verdict that asserts a family, or says "good
enough" where weights are more than 10 % off on average, or "use corrected" where they are less than 2 % off (but with
estimated rates, whose errors are a reason of their own).

Observers: 33 factors, a signal that is there or not and 32 frames of noise, of whom one thing is not as the model has
it. `found`: it is among what the model lacks; `first`: the verdict names it; `other`: the verdict names something else;
`told`: the verdict is neither "good enough" nor "use corrected".
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from tqdm import trange

from benchmarks.designs import ASYMPTOTES, FRESH, THEORY, Design, draw_truth
from hdlogit.exact import fit
from hdlogit.inference import infer
from hdlogit.inference.comparison import usefulness
from hdlogit.inference.questions import ASYMMETRY, LINK, Question, questions
from stages.tables.answer import CORRECTED, GOOD, LACKING, USELESS, Situation

Array = NDArray[np.float64]
Drawn = tuple[Array, NDArray[np.bool_], str]  # factors, responses, asymptotes

LEVEL = 0.95
CLEAN = [one for one in (*THEORY, *FRESH, *ASYMPTOTES) if not one.large and one.name != "no signal"]
OBSERVERS = {
    "squares": "squares of the factors",
    "squares, fitted with rates": "squares of the factors",
    "signal × frames": "products with signal",
    "history": "previous responses",
    "drift": "a trend over trials",
    "sessions": "differences between groups",
    "8 % guesses, 8 % lapses": LINK,
    "15 % guesses": LINK,
    "8 % + 8 %, fitted with rates": "",
    "1 − exp(−exp z)": ASYMMETRY,
    "clean observer": "",
}


def truth_of(design: Design) -> tuple[Array, Array, Array]:
    """Factors (n, p), true weights (p,), P(y = 1) (n,)."""
    rng = np.random.default_rng(7)
    x = design.draw(rng)
    truth, bias = draw_truth(rng, design, x)
    return x, truth, design.guess_rate + (1 - design.guess_rate - design.lapse_rate) * expit(x @ truth + bias)


def observed(kind: str, n: int, replicates: int) -> Iterator[Drawn]:
    """Logits of standard deviation 1.4, half of it from what is named."""
    rng = np.random.default_rng(11)
    for _ in range(replicates):
        x = np.column_stack([rng.random(n) < 0.5, rng.normal(size=(n, 32))]).astype(np.float64)
        w, other = rng.normal(size=(2, 32)) / np.sqrt(32)
        z, frames = 1.2 * (x[:, 0] - 0.5) + 1.3 * x[:, 1:] @ w, x[:, 1:]
        p = expit(z)
        if "squares" in kind:
            p = expit(z + 0.5 * (frames**2 - 1) @ np.abs(w))
        elif kind == "signal × frames":
            p = expit(1.2 * (x[:, 0] - 0.5) + 1.3 * np.where(x[:, 0] > 0, frames @ w, frames @ other))
        elif kind == "drift":
            p = expit(z + np.linspace(-0.7, 0.7, n))
        elif kind == "sessions":
            p = expit(z + np.repeat(0.4 * rng.normal(size=8), n // 8 + 1)[:n])
        elif "8 %" in kind:
            p = 0.08 + 0.84 * expit(2 * z)
        elif kind == "15 % guesses":
            p = 0.15 + 0.85 * expit(2 * z)
        elif kind.startswith("1 −"):
            p = -np.expm1(-np.exp(1.5 * z))
        y, u = rng.random(n) < p, rng.random(n)
        if kind == "history":
            for t in range(1, n):
                y[t] = u[t] < expit(z[t] + (0.5 if y[t - 1] else -0.5))
        yield x, y, "estimate" if "fitted with rates" in kind else "none"


def asked(x: Array, y: NDArray[np.bool_], asymptotes: str) -> tuple[list[Question], str, Array]:
    """(Questions, verdict, fitted weights); no questions where there is no inference."""
    coefficients = fit(x, y[:, None], polish=True).coefficients
    [c] = infer(x, y[:, None], coefficients, asymptotes=asymptotes)  # type: ignore[arg-type]
    if c.reason:
        return [], "", coefficients[:-1, 0]
    names = ["signal", *(f"frame{j}" for j in range(1, x.shape[1]))]
    found, use = questions(c, x, y, names, np.arange(len(x)) * 8 // len(x)), usefulness(c, x, y)
    sizes = c.signal, c.theory.alpha, c.alpha_error, *c.expected_classical_coverage(LEVEL)
    return found, Situation("y", *sizes, use, found).verdict, coefficients[:-1, 0]


def family(question: Question) -> str:
    return "products" if question.family.startswith("products") and "signal" not in question.family else question.family


def of_design(design: Design, replicates: int, seed: int) -> str:
    x, truth, p = truth_of(design)
    asymptotes, rng = "estimate" if design.asymptotes else "none", np.random.default_rng(seed)
    counts, any_of, verdicts, slopes = defaultdict[str, list[bool]](list), list[bool](), Counter[str](), list[float]()
    metric = np.atleast_2d(np.cov(x, rowvar=False)) @ truth
    for _ in trange(replicates, desc=design.name, leave=False):
        found, verdict, w = asked(x, rng.random(len(x)) < p, asymptotes)
        if found:
            for one in found:
                counts[family(one)].append(one.p_value < 0.05)
            any_of.append(min(one.p_value for one in found) < 0.05 / len(found))
            verdicts[verdict] += 1
            slopes.append(float(w @ metric / (truth @ metric)))
    off = abs(float(np.mean(slopes)) - 1)
    wrong = sum(n for verdict, n in verdicts.items() if verdict.startswith(LACKING) or verdict == USELESS)
    wrong += verdicts[GOOD] * (off > 0.1) + verdicts[CORRECTED] * (off < 0.02 and not design.asymptotes)
    rates = ", ".join(f"{name} {np.mean(of):.3f}" for name, of in sorted(counts.items()))
    said = ", ".join(f"{verdict} {n}" for verdict, n in verdicts.most_common())
    return (
        f"{design.name}: {len(any_of)} fits, weights {100 * np.mean(slopes) - 100:+.0f} %; any {np.mean(any_of):.3f}; "
        f"wrong {wrong / max(len(any_of), 1):.3f} ({said}); {rates}"
    )


def of_observer(kind: str, n: int, replicates: int) -> str:
    tally, fits, right = Counter[str](), 0, OBSERVERS[kind]
    for drawn, _ in zip(observed(kind, n, replicates), trange(replicates, desc=kind, leave=False), strict=True):
        found, verdict, _ = asked(*drawn)
        lacks = verdict.removeprefix(f"{LACKING} ") if verdict.startswith(LACKING) else ""
        fits += bool(found)
        tally["found"] += any(one.family == right and one.p_value < 0.05 / len(found) for one in found)
        tally["first"] += bool(lacks) and lacks == right
        tally["other"] += bool(lacks) and lacks != right
        tally["told"] += bool(found) and verdict not in (GOOD, CORRECTED)
    rates = ", ".join(f"{name} {tally[name] / max(fits, 1):.2f}" for name in ("found", "first", "other", "told"))
    return f"{n} trials, {kind}: {fits} fits, {rates}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="in the names of designs and observers")
    parser.add_argument("--replicates", type=int, default=60)
    parser.add_argument("--seed", type=int, default=8, help="of the responses to clean designs")
    arguments = parser.parse_args()

    def wanted(name: str) -> bool:
        return not arguments.words or any(word in name for word in arguments.words)

    for n in (600, 2000):
        for kind in filter(wanted, OBSERVERS):
            print(of_observer(kind, n, arguments.replicates), flush=True)
    for design in CLEAN:
        if wanted(design.name):
            print(of_design(design, arguments.replicates, arguments.seed), flush=True)


if __name__ == "__main__":
    main()
