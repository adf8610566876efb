"""Are questions to a model answered rightly? False alarms on clean observers, and what is found of others.

    python -m benchmarks.questions --replicates 200      clean designs, then observers: some minutes each

Clean: responses follow the model, with trials in eight groups; a family of tests should reject in 5 % of replicates at
.05, and all together (Bonferroni) in about as many. Observers: 33 factors, a signal that is there or not and 32 frames
of noise, of whom one thing is not as the model has it; printed is how often it is found, how often the advice is the
right one, and how often anything else is.
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
from hdlogit.inference.questions import LINK, Question, questions

Array = NDArray[np.float64]
Drawn = tuple[Array, NDArray[np.bool_], bool]  # factors, responses, whether rates are estimated

CLEAN = [one for one in (*THEORY, *FRESH, *ASYMPTOTES) if not one.large and one.name != "no signal"]
OBSERVERS = {
    "squares": "squares of the factors",
    "squares, fitted with rates": "squares of the factors",
    "signal × frames": "products with signal",
    "history": "previous responses",
    "drift": "a trend over trials",
    "sessions": "differences between groups",
    "8 % guesses, 8 % lapses": LINK,
    "8 % + 8 %, fitted with rates": "",
    "1 − exp(−exp z)": LINK,
    "clean": "",
}


def clean(design: Design, replicates: int) -> Iterator[Drawn]:
    rng = np.random.default_rng(7)
    x = design.draw(rng)
    truth, bias = draw_truth(rng, design, x)
    p = design.guess_rate + (1 - design.guess_rate - design.lapse_rate) * expit(x @ truth + bias)
    for _ in range(replicates):
        yield x, rng.random(len(x)) < p, design.asymptotes


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
        elif kind.startswith("1 −"):
            p = -np.expm1(-np.exp(1.5 * z))
        y, u = rng.random(n) < p, rng.random(n)
        if kind == "history":
            for t in range(1, n):
                y[t] = u[t] < expit(z[t] + (0.5 if y[t - 1] else -0.5))
        yield x, y, "fitted with rates" in kind


def asked(drawn: Drawn) -> list[Question]:
    """[] where there is no inference."""
    x, y, with_rates = drawn
    coefficients = fit(x, y[:, None]).coefficients
    [result] = infer(x, y[:, None], coefficients, asymptotes="estimate" if with_rates else "none")
    names = ["signal", *(f"frame{j}" for j in range(1, x.shape[1]))]
    return questions(result, x, y, names, np.arange(len(x)) * 8 // len(x))


def family(question: Question) -> str:
    return "products" if question.family.startswith("products") and "signal" not in question.family else question.family


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200)
    replicates = parser.parse_args().replicates
    for design in CLEAN:
        counts, any_of = defaultdict[str, list[bool]](list), list[bool]()
        for drawn, _ in zip(clean(design, replicates), trange(replicates, desc=design.name, leave=False), strict=True):
            found = asked(drawn)
            for one in found:
                counts[family(one)].append(one.p_value < 0.05)
            any_of += [min(one.p_value for one in found) < 0.05 / len(found)] if found else []
        rates = ", ".join(f"{name} {np.mean(of):.3f}" for name, of in sorted(counts.items()))
        print(f"{design.name}: {len(any_of)} fits, any {np.mean(any_of):.3f}; {rates}", flush=True)
    for n in (600, 2000):
        for kind, right in OBSERVERS.items():
            tally, fits = Counter[str](), 0
            drawn_ones = zip(observed(kind, n, replicates), trange(replicates, desc=kind, leave=False), strict=True)
            for drawn, _ in drawn_ones:
                found = asked(drawn)
                fits += bool(found)
                sure = [one for one in found if one.p_value < 0.05 / len(found)]
                tally["found"] += any(one.family == right for one in sure)
                tally["first"] += bool(sure) and sure[0].family == right
                tally["other"] += bool(sure) and sure[0].family != right
            rates = ", ".join(f"{name} {tally[name] / max(fits, 1):.2f}" for name in ("found", "first", "other"))
            print(f"{n} trials, {kind}: {fits} fits, {rates}", flush=True)


if __name__ == "__main__":
    main()
