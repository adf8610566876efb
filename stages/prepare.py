"""Stage `prepare`: turn a person's own trials into factors and responses, and report what was found in them."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.files.account import MOST, counted, first_of, lacking
from stages.files.errors import run_stage
from stages.files.parameters import Prepare, read_study
from stages.files.writing import Outputs
from stages.trials.prepared import Prepared, prepare, sha256, stable


def main() -> None:
    p = read_study().prepare
    prepared = prepare(p, Path(p.trials))
    with Outputs("prepare") as outputs:
        document = describe(p, prepared)
        study = prepared.study
        for split, rows in (("train", ~prepared.test), ("test", prepared.test)):
            np.save(outputs.path(f"{split}/factors.npy"), prepared.fitted(study.factors[rows]))
            np.save(outputs.path(f"{split}/responses.npy"), study.yes[rows])
            if study.groups is not None:
                np.save(outputs.path(f"{split}/groups.npy"), study.groups[rows])
        outputs.text("trials.json", json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
        print("\n".join(summary(document)))


def describe(p: Prepare, prepared: Prepared) -> dict[str, Any]:
    """What data/trials.json holds: names, counts, and what was left out."""
    study, selected = prepared.study, prepared.selected
    at = {j: position for position, j in enumerate(selected)}
    terms = {name: [at[j] for j in indices if j in at] for name, indices in study.coding.terms.items()}
    for pattern in p.factor_patterns:
        if pattern not in terms:  # as in frame*
            terms[pattern] = [j for name, of in terms.items() if fnmatchcase(name, pattern) for j in of]
    rows = pd.DataFrame(np.column_stack([study.factors, study.yes]), copy=False)
    yes = zip(study.responses, study.yes.mean(axis=0), strict=True)
    return {
        "factors": prepared.names,
        "classes": [response.name for response in study.responses],
        "terms": {name: indices for name, indices in terms.items() if indices},
        "groups": study.labels,
        "in_order": study.table.frame.index.is_unique,  # rows that stand for several trials do not tell their order
        "mean": prepared.mean[selected].tolist(),
        "sd": prepared.sd[selected].tolist(),
        "standardise": p.standardise,
        "trials": {
            "read": len(study.taken),
            "taken": int(study.taken.sum()),
            "used": len(prepared.test),
            "train": int((~prepared.test).sum()),
            "test": int(prepared.test.sum()),
            "repeated": int(pd.util.hash_pandas_object(rows, index=False).duplicated().sum()),
        },
        "yes": {response.name: stable(fraction) for response, fraction in yes},
        "missing": {name: {"trials": n, "first": place} for name, (n, place) in study.lacking.items()},
        "left_out": study.left_out | {study.names[j]: why for j, why in prepared.why_not.items()},
        "notes": [*study.table.notes],
        "file": {"name": Path(p.trials).name, "sha256": sha256(Path(p.trials))},
    }


def summary(document: dict[str, Any]) -> list[str]:
    """What a person should know before anything is fitted, a line each."""
    n, factors, groups = document["trials"], document["factors"], document["groups"]
    lines = [
        *document["notes"],
        f"{counted(n['used'], 'trial')}, {counted(len(factors), 'factor')}: {first_of(factors)}",
    ]
    lines += [f"{name}: {100 * fraction:.1f} % yes" for name, fraction in document["yes"].items()]
    if groups:
        lines.append(f"{counted(len(groups), 'group')}: {first_of(groups)}")
    if n["read"] > n["taken"]:
        lines.append(f"{n['read'] - n['taken']} of {n['read']} trials are excluded by where")
    if n["taken"] > n["used"]:
        lines.append(f"{counted(n['taken'] - n['used'], 'trial')} left out because a value is missing:")
    missing = [*lacking(document)]
    for name, k, first in missing[:MOST]:
        lines.append(f"  {name} is missing in {counted(k, 'trial')}; the first: {first}")
    if missing[MOST:]:
        lines.append(f"  … and {counted(len(missing) - MOST, 'more column')}")
    left_out: dict[str, list[str]] = {}
    for name, why in document["left_out"].items():
        left_out.setdefault(why, []).append(name)
    lines += [f"no factor, as {why}: {first_of(names)}" for why, names in left_out.items()]
    if 0 < 2 * n["repeated"] <= n["used"]:
        lines.append(f"exact copies of an earlier trial, in factors and response: {n['repeated']}")
    if n["test"]:
        lines.append(f"{counted(n['test'], 'trial')} held out")
    return lines


if __name__ == "__main__":
    run_stage(main)
