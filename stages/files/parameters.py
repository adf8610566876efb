"""`params.yaml`: one section per stage. A stage uses its own, but checks all before it does any work."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from stages.files import DATA, OBSERVERS
from stages.files.documents import read_yaml, validate
from stages.files.errors import InputError
from stages.files.tables import AGAIN, reading

FILE = Path("params.yaml")


def whole(value: Any) -> Any:
    """1e4 and 10000.0 are integers, too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(whole)]
Seed = Annotated[Integer, Field(ge=0, le=2**32 - 1)]  # what numpy.random.RandomState and torch both accept
Rate = Annotated[float, Field(ge=0, lt=1)]
KnownRate = Annotated[float, Field(ge=0, le=0.5)]
Count = Annotated[Integer, Field(ge=1, le=1_000_000)]
Trials = Annotated[Integer, Field(ge=1, le=1_000_000_000)]
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1)]


class Section(BaseModel):
    """Keys with types: no other keys, no text for a number, no conversion of true to 1."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Simulate(Section):
    """The true observer and its trials."""

    seed: Seed
    n_factors: Annotated[Integer, Field(ge=1, le=100_000)]
    n_classes: Annotated[Integer, Field(ge=1, le=10_000)]
    n_trials: Trials
    n_test_trials: Trials
    weight_scale: Annotated[float, Field(ge=1e-6, le=1e6)]
    guess_rate: Rate
    lapse_rate: Rate
    dtype: Literal["float64", "float32"]
    streams: Literal["independent", "notebook"]


class Prepare(Section):
    """A person's own trials: the file, which parts of it are used, and how."""

    trials: Text
    response: Text | Annotated[list[Text], Field(min_length=1, max_length=10_000)]
    formula: Text | None
    factors: Text | Texts | None = None
    count: Text | None = None
    missing_words: list[Text | int | float] | None = None
    group: Text | Texts | None
    by: Text | None = None
    where: Text | None
    missing: Literal["drop", "refuse"]
    standardise: bool
    held_out: Rate
    held_out_by: Literal["trial", "group", "last"]
    seed: Seed
    trial: Text | None
    position: Text | None
    value: Text | None
    intervals: Text | Annotated[list[Text], Field(min_length=2, max_length=2)] | None

    @property
    def responses(self) -> list[str]:
        """One per class."""
        return [self.response] if isinstance(self.response, str) else self.response

    @property
    def groups(self) -> list[str]:
        """The columns whose values together define a trial's group."""
        return [self.group] if isinstance(self.group, str) else self.group or []

    @property
    def factor_patterns(self) -> list[str]:
        """Names of columns, or a shell's patterns of them; empty: every column that can be a factor."""
        return [self.factors] if isinstance(self.factors, str) else self.factors or []


class Train(Section):
    """The solver and its settings."""

    solver: Literal["adam", "exact"]
    seed: Seed
    learning_rate: Annotated[float, Field(gt=0, le=1e6)]
    beta1: Rate
    beta2: Rate
    amsgrad: bool
    num_epochs: Count
    batch_size: Count
    ridge: Annotated[float, Field(ge=0, le=1e6)] | Literal["auto"]
    shrinkage: Literal[0, "auto", "always"]
    tolerance: Annotated[float, Field(gt=0, le=1)]
    max_iterations: Count
    dtype: Literal["float64", "float32"]
    device: Literal["auto", "cpu", "cuda"]


class Evaluate(Section):
    """How the metrics are binned, and what is inferred."""

    calibration_bins: Annotated[Integer, Field(ge=1, le=1000)]
    interval_level: Annotated[float, Field(ge=0.01, le=0.9999)]
    asymptotes: Literal["none", "estimate", "tied"]
    guess_rate: KnownRate | Literal["auto"]
    lapse_rate: KnownRate | Literal["auto"]
    smooth: Texts | None = None
    threshold_at: list[Annotated[float, Field(gt=0, lt=1)]] | None = None

    @property
    def known_rates(self) -> tuple[float | None, float | None]:
        """Guess and lapse rate as given; None for auto."""
        guess_rate = None if self.guess_rate == "auto" else self.guess_rate
        return guess_rate, None if self.lapse_rate == "auto" else self.lapse_rate


class Plot(Section):
    """What is drawn, how finely, and in which formats."""

    class_index: Annotated[Integer, Field(ge=0, le=9_999)]
    dpi: Annotated[Integer, Field(ge=30, le=600)]
    formats: Annotated[list[Literal["png", "svg", "pdf"]], Field(min_length=1)]
    axis: Annotated[tuple[Text, Annotated[float, Field(gt=0)]], Field(strict=False)] | None = None  # label, spacing
    width: Annotated[float, Field(ge=1, le=20)] | None = None


class Parameters(Section):
    """What every `params.yaml` holds."""

    train: Train
    evaluate: Evaluate
    plot: Plot

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        for mistake in self.mistakes():
            raise ValueError(mistake)
        return self

    def mistakes(self) -> Iterator[str]:
        """What is wrong with values that are right one by one."""
        yield from ()

    def common_mistakes(self, n_classes: int) -> Iterator[str]:
        """Those of simulated and of own trials alike."""
        train, evaluate, index = self.train, self.evaluate, self.plot.class_index
        for name, value in (("ridge", train.ridge), ("shrinkage", train.shrinkage)):
            if train.solver == "adam" and value != 0:
                yield f"train.{name} = {value!r}, but solver adam has no {name}; it must be 0, or the solver exact"
        if train.ridge != 0 and train.shrinkage != 0:
            yield f"train.shrinkage = {train.shrinkage!r}, but it must be 0 where ridge = {train.ridge!r} is not"
        guess_rate, lapse_rate = (rate or 0.0 for rate in evaluate.known_rates)
        yield from too_large("evaluate", guess_rate, lapse_rate)
        if evaluate.asymptotes == "tied" and evaluate.known_rates != (None, None):
            yield "evaluate.asymptotes = 'tied', so guess_rate and lapse_rate must be auto"
        if index >= n_classes:
            yield f"plot.class_index = {index}, but it must be below the number of classes, {n_classes}"


def too_large(section: str, guess_rate: float, lapse_rate: float) -> Iterator[str]:
    """What is wrong with two rates that leave no room for any response to the stimulus."""
    if guess_rate + lapse_rate >= 1:
        limit = f"with guess_rate = {guess_rate:g} it must be below {1 - guess_rate:g}"
        yield f"{section}.lapse_rate = {lapse_rate:g}, but {limit}"


class Simulation(Parameters):
    """The whole of `params.yaml` where the trials are simulated."""

    simulate: Simulate

    def mistakes(self) -> Iterator[str]:
        yield from self.common_mistakes(self.simulate.n_classes)
        yield from too_large("simulate", self.simulate.guess_rate, self.simulate.lapse_rate)


class Study(Parameters):
    """The whole of `params.yaml` where the trials are a person's own."""

    prepare: Prepare
    observers: dict[Text, Text | int | float] | None = None  # folder -> value of the column prepare.by
    left_out: list[Text] = []  # observers and rows that are not among them, and why

    def mistakes(self) -> Iterator[str]:
        p = self.prepare
        yield from self.common_mistakes(len(p.responses))
        if (p.by is None) != (self.observers is None):
            yield "observers must be given where prepare.by is, and not otherwise"
        if p.formula and p.factors:
            yield f"prepare.factors = {p.factors!r}, but formula is not null; one names the factors"
        if p.held_out_by == "group" and p.group is None:
            yield "prepare.held_out_by = 'group', but group is null; it must name a column"
        long = [p.trial, p.position, p.value]
        if None in long and any(long):
            three = ", ".join(map(str, long))
            yield f"prepare.trial, position and value = {three}, but a long file needs all, a wide one none"
        if p.intervals is not None and isinstance(p.intervals, str) == (None in long):
            right = "the intervals' column in a long file, two endings of column names in a wide one"
            yield f"prepare.intervals = {p.intervals!r}, but it must be {right}"
        columns = [name for name in (*long, p.intervals) if isinstance(name, str)]
        if len({*columns}) < len(columns):
            yield f"prepare.trial, position, value and intervals = {', '.join(columns)}, but these must differ"
        if p.intervals is not None and self.evaluate.guess_rate not in (0, "auto"):
            chosen = "the response must be which was chosen, guess_rate auto or 0"
            yield f"evaluate.guess_rate = {self.evaluate.guess_rate}, but with prepare.intervals {chosen}"

    def alone(self, folder: str) -> Study:
        """The study of one observer, as it is seen from the observer's folder."""
        if folder not in (self.observers or {}):
            raise InputError(f"{FILE}: observers holds no {folder}; it must name the folder of each observer")
        by, value, rest = self.prepare.by, (self.observers or {})[folder], self.prepare.where
        update = {
            "trials": str(Path("../..", self.prepare.trials)),
            "where": f"`{by}` == {value!r}" + (f" and ({rest})" if rest else ""),
            "group": [*dict.fromkeys([by, *self.prepare.groups])],  # no lag from one to another
        }
        return self.model_copy(update={"prepare": self.prepare.model_copy(update=update)})


def observer() -> str | None:
    """The name of this folder if it is an observer's, whose params.yaml is that of the study two above."""
    here = Path.cwd()
    return here.name if here.parent.name == OBSERVERS and not FILE.exists() else None


def file_of_parameters() -> Path:
    return Path("../..", FILE) if observer() else FILE


def read_simulation(path: Path = FILE) -> Simulation:
    """All sections, checked, where the trials are simulated ones.

    Raises InputError naming the file, the key, the value and what is allowed.
    """
    return validate(Simulation, read_yaml(path), str(path))


def read_study(path: Path | None = None) -> Study:
    """The same, where the trials are a person's own."""
    path, folder = path or file_of_parameters(), observer()
    study = validate(Study, read_yaml(path), str(path))
    return study.alone(folder) if folder else study


def read_parameters(path: Path | None = None) -> Simulation | Study:
    """The same for either."""
    path = path or file_of_parameters()
    return read_study(path) if "prepare" in read_yaml(path) else read_simulation(path)


# --- do the results in data/ belong to these parameters? Those of an earlier run must not look so.

STAGES = ("simulate", "prepare", "train", "evaluate")  # those that make numbers


def check_current() -> None:
    """Raise InputError where a stage that makes numbers has failed, or last ran with other parameters."""
    for name in ("train", "model.safetensors", "metrics.json"):  # DVC removes a stage's outputs before it runs it
        if not (DATA / name).exists():
            raise InputError(f"{DATA / name} is missing: the last run has not come to its end; `dvc repro` says why")
    check_parameters()


def check_parameters() -> None:
    """Raise InputError where a stage that makes numbers last ran with other parameters than params.yaml has.

    Those of its run are in dvc.lock; without DVC there is none, and nothing to compare with.
    """
    file, alone = file_of_parameters(), observer()
    lock = file.with_name("dvc.lock")
    if not lock.exists():
        return
    recorded = read_yaml(lock)
    parameters: Any = read_yaml(file)
    with reading(lock):
        for name in STAGES:
            stage = recorded["stages"].get(f"{name}@{alone}" if alone else name, {})
            for key, value in stage.get("params", {}).get(str(file), {}).items():
                now = reduce(lambda tree, part: (tree or {}).get(part), key.split("."), parameters)
                if now != value:
                    raise InputError(f"{FILE}: {key} is not what {name} last ran with; {AGAIN}")
