"""Stage `prepare`: turn a person's own trials into factors and responses, and report what was found in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stages.files.account import MOST, counted, lacking, some
from stages.files.errors import InputError, run_stage
from stages.files.parameters import Prepare, read_study
from stages.files.writing import Outputs
from stages.trials.checks import Moments, dependence, hold_out, moments, repeats, undetermined
from stages.trials.design import Found, learn
from stages.trials.gather import Gathered, gather


def main() -> None:
    p = read_study().prepare
    found = learn(p, Path(p.trials))
    with Outputs("prepare") as outputs:
        scratch = outputs.scratch_array((found.n_taken, len(found.design.names)))
        trials = gather(found, scratch, p.missing == "refuse")
        same, n_repeated = repeats(trials.same)
        test = hold_out(p.held_out, p.held_out_by, same, trials.groups, p.seed)
        if p.held_out and not test.any():
            units = f"{len(trials.labels)} groups" if p.held_out_by == "group" else f"{len(test)} trials"
            raise InputError(
                f"params.yaml: prepare.held_out = {p.held_out}, which holds out none of {units}; it must be 0 or "
                "larger than that"
            )
        check_responses(found, trials.responses[~test], p)
        stats = moments(watched("measuring", trials, ~test), len(found.design.names))
        reasons = undetermined(stats, found.design.names, found.table.name)
        selected = [j for j in range(len(found.design.names)) if j not in reasons]
        if not selected:
            raise InputError(f"{found.table.name}: no factor varies, so there is no weight to fit")
        document = describe(p, found, trials, test, n_repeated, stats, reasons)
        for split, rows in (("train", ~test), ("test", test)):
            write_split(outputs, split, trials, rows, selected, document if p.standardise else None)
        outputs.text("trials.json", json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
        print("\n".join(summary(document)))


def watched(what: str, trials: Gathered, rows: NDArray[np.bool_]) -> Iterator[NDArray[np.floating]]:
    """Factors of the trials in `rows`, block by block, with a progress bar."""
    with tqdm(desc=what, total=int(rows.sum()), unit=" rows", disable=None, leave=False) as bar:
        for block in trials.blocks(rows):
            yield block
            bar.update(len(block))


def check_responses(found: Found, responses: NDArray[np.bool_], p: Prepare) -> None:
    """Raise InputError for a class that only ever has one response in the training trials."""
    for response, yes in zip(found.design.responses, responses.mean(axis=0) if len(responses) else [], strict=False):
        if yes in (0, 1):
            raise InputError(
                f"{found.table.name}: {response.name} is {'always' if yes else 'never'} a yes in the {len(responses)} "
                "trials to train on; there is nothing to fit"
            )
    if not len(responses):
        raise InputError(f"params.yaml: prepare.held_out = {p.held_out}, which leaves no trial to train on")


def write_split(
    outputs: Outputs,
    split: str,
    trials: Gathered,
    rows: NDArray[np.bool_],
    selected: list[int],
    standard: dict[str, Any] | None,
) -> None:
    """The trials in `rows` (n_trials,), with the factors `selected`; standardised by the mean and sd of `standard`."""
    n = int(rows.sum())
    factors = outputs.array(f"{split}/factors.npy", (n, len(selected)), "float64")
    done = 0
    for block in watched(f"writing {split}", trials, rows):
        chosen = block[:, selected]
        if standard:
            chosen = (chosen - standard["mean"]) / standard["sd"]
        factors[done : done + len(chosen)] = chosen
        done += len(chosen)
    np.save(outputs.path(f"{split}/responses.npy"), trials.responses[rows])
    if trials.groups is not None:
        np.save(outputs.path(f"{split}/groups.npy"), trials.groups[rows])


def describe(
    p: Prepare,
    found: Found,
    trials: Gathered,
    test: NDArray[np.bool_],
    n_repeated: int,
    stats: Moments,
    reasons: dict[int, str],
) -> dict[str, Any]:
    """What data/trials.json holds: names, counts, what was left out, and how to code other trials in the same way."""
    design = found.design
    selected = [j for j in range(len(design.names)) if j not in reasons]
    at = {j: position for position, j in enumerate(selected)}
    terms = {name: [at[j] for j in indices if j in at] for name, indices in design.terms.items()}
    return {
        "factors": [design.names[j] for j in selected],
        "classes": [response.name for response in design.responses],
        "terms": {name: indices for name, indices in terms.items() if indices},
        "groups": trials.labels,
        "mean": [stable(stats.mean[j]) for j in selected],
        "sd": [stable(stats.sd[j]) for j in selected],
        "standardise": p.standardise,
        "trials": {
            "read": found.n_rows,
            "taken": found.n_taken,
            "used": len(test),
            "train": int((~test).sum()),
            "test": int(test.sum()),
            "repeated": n_repeated,
        },
        "yes": {
            response.name: stable(fraction)
            for response, fraction in zip(design.responses, trials.responses.mean(axis=0), strict=True)
        },
        "missing": {name: {"trials": n, "first": place} for name, (n, place) in trials.lacking.items()},
        "left_out": found.left_out | {design.names[j]: why for j, why in reasons.items()},
        "file": {"name": Path(p.trials).name, "sha256": sha256(Path(p.trials))},
        "selected": selected,
        "dependent": dependence(stats, selected, [*reasons]),
        "design": design.model_dump(mode="json"),
    }


def summary(document: dict[str, Any]) -> list[str]:
    """What a person should know before anything is fitted, a line each."""
    n, factors, groups = document["trials"], document["factors"], document["groups"]
    lines = [f"{counted(n['used'], 'trial')}, {counted(len(factors), 'factor')}: {some(factors)}"]
    lines += [f"{name}: {100 * fraction:.1f} % yes" for name, fraction in document["yes"].items()]
    if groups:
        lines.append(f"{counted(len(groups), 'group')}: {some(groups)}")
    if n["read"] > n["taken"]:
        lines.append(f"{n['read'] - n['taken']} of {n['read']} trials do not fulfil where")
    if n["taken"] > n["used"]:
        lines.append(f"{counted(n['taken'] - n['used'], 'trial')} left out because a value is missing:")
    missing = [
        f"  {name} is missing in {counted(n_trials, 'trial')}; the first: {first}"
        for name, n_trials, first in lacking(document)
    ]
    lines += missing[:MOST] + ([f"  … and {counted(len(missing) - MOST, 'more column')}"] if missing[MOST:] else [])
    lines += [f"{name} is no factor: {why}" for name, why in document["left_out"].items()]
    if 0 < 2 * n["repeated"] <= n["used"]:
        lines.append(f"exact copies of an earlier trial, in factors and response: {n['repeated']}")
    if len(factors) >= n["train"]:
        counts = f"{counted(len(factors), 'factor')} for {counted(n['train'], 'trial')}"
        lines.append(f"{counts}: without a ridge there is no estimate")
    if n["test"]:
        lines.append(f"{counted(n['test'], 'trial')} held out")
    return lines


def stable(value: float) -> float:
    """Without the last digits, which differ between processors."""
    return float(f"{value:.12g}")


def sha256(path: Path) -> str:
    """Of a folder: that of its files, joined in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    run_stage(main)
