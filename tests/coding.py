"""What a file of trials gives: its arrays, or one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.files.errors import InputError
from stages.files.parameters import Prepare
from stages.trials.design import learn

DEFAULTS: dict[str, Any] = {
    "trials": "t.csv",
    "response": "choice=right",
    "missing": "drop",
    "standardise": False,
    "held_out": 0.0,
    "held_out_by": "trial",
    "seed": 1973,
    **dict.fromkeys(("formula", "group", "where", "trial", "position", "value", "intervals")),
}


def asked(**keys: Any) -> Prepare:
    return Prepare.model_validate(DEFAULTS | keys)


def coded(path: Path, **keys: Any) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, factors and responses of the usable trials."""
    study = learn(asked(**keys), path)
    return study.names, study.factors, study.yes


def refused(path: Path, **keys: Any) -> str:
    with pytest.raises(InputError) as error:
        coded(path, **keys)
    message = str(error.value)
    assert "\n" not in message
    return message


def one_line(call: Callable[[], object]) -> bool:
    """Whether a call ends well or is refused in one printable line."""
    try:
        call()
    except InputError as error:
        return str(error).isprintable()
    return True


def frame(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "contrast": rng.normal(size=n).round(3),
            "rule": rng.choice(["a", "b", "c"], n),
            "choice": rng.choice(["left", "right"], n),
        }
    )
