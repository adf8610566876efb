"""`params.yaml`: one section per stage. A stage uses its own, but checks all of them before it does any work."""

from __future__ import annotations

from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from stages.files import OBSERVERS
from stages.files.documents import read_yaml, validate
from stages.files.errors import InputError

FILE = Path("params.yaml")


Number = Annotated[float, Field(allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what numpy.random.RandomState and torch both accept


Rate = Annotated[Number, Field(ge=0, lt=1)]


class Section(BaseModel):
    """Keys with types: no other keys, no text for a number, no conversion of true to 1."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _whole(cls, value: Any, key: ValidationInfo) -> Any:
        """1e4 and 10000.0 are integers, too."""
        whole = isinstance(value, float) and value.is_integer()
        return int(value) if whole and cls.model_fields[str(key.field_name)].annotation is int else value


Checked = TypeVar("Checked", bound=Section)


def _check_rates(section: Checked, guess_rate: float, lapse_rate: float) -> Checked:
    if guess_rate + lapse_rate >= 1:
        raise ValueError(
            f"lapse_rate = {lapse_rate:g}, but with guess_rate = {guess_rate:g} it must be below {1 - guess_rate:g}"
        )
    return section


class Simulate(Section):
    """The true observer and its trials."""

    seed: Seed
    n_factors: Annotated[int, Field(ge=1, le=100_000)]
    n_classes: Annotated[int, Field(ge=1, le=10_000)]
    n_trials: Annotated[int, Field(ge=1, le=1_000_000_000)]
    n_test_trials: Annotated[int, Field(ge=1, le=1_000_000_000)]
    weight_scale: Annotated[Number, Field(ge=1e-6, le=1e6)]
    guess_rate: Rate
    lapse_rate: Rate
    dtype: Literal["float64", "float32"]
    streams: Literal["independent", "notebook"]

    @model_validator(mode="after")
    def _rates_leave_room(self) -> Simulate:
        return _check_rates(self, self.guess_rate, self.lapse_rate)


Text = Annotated[str, Field(min_length=1)]


class Prepare(Section):
    """A person's own trials: the file, which parts of it are used, and how."""

    trials: Text
    response: Text | Annotated[list[Text], Field(min_length=1, max_length=10_000)]
    formula: Text | None
    factors: Text | Annotated[list[Text], Field(min_length=1)] | None = None
    count: Text | None = None
    missing_words: list[Text | int | Number] | None = None
    group: Text | Annotated[list[Text], Field(min_length=1)] | None
    by: Text | None = None
    where: Text | None
    missing: Literal["drop", "refuse"]
    standardise: bool
    held_out: Annotated[Number, Field(ge=0, lt=1)]
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

    @model_validator(mode="after")
    def _factors(self) -> Prepare:
        if self.formula and self.factors:
            raise ValueError(f"factors = {self.factors!r}, but formula is not null; only one of them names the factors")
        return self

    @model_validator(mode="after")
    def _layout(self) -> Prepare:
        long = {"trial": self.trial, "position": self.position, "value": self.value}
        for key, column in long.items():
            if (column is None) != (self.trial is None):
                raise ValueError(
                    f"{key} = {column!r}, but a long file needs trial, position and value, a wide one none"
                )
        if self.intervals is not None and isinstance(self.intervals, str) == (self.trial is None):
            raise ValueError(
                f"intervals = {self.intervals!r}, but it must be the intervals' column in a long file, two endings of "
                "column names in a wide one"
            )
        columns = [*filter(None, long.values()), *([self.intervals] if isinstance(self.intervals, str) else [])]
        if len(set(columns)) < len(columns):
            raise ValueError(
                f"trial, position, value and intervals = {', '.join(columns)}, but they must be different columns"
            )
        return self

    @model_validator(mode="after")
    def _groups(self) -> Prepare:
        if self.held_out_by == "group" and self.group is None:
            raise ValueError("held_out_by = 'group', but group is null; it must name a column")
        return self


class Train(Section):
    """The solver and its settings."""

    solver: Literal["adam", "exact"]
    seed: Seed
    learning_rate: Annotated[Number, Field(gt=0, le=1e6)]
    beta1: Annotated[Number, Field(ge=0, lt=1)]
    beta2: Annotated[Number, Field(ge=0, lt=1)]
    amsgrad: bool
    num_epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)]
    ridge: Annotated[Number, Field(ge=0, le=1e6)] | Literal["auto"]
    shrinkage: Literal[0, "auto", "always"]
    tolerance: Annotated[Number, Field(gt=0, le=1)]
    max_iterations: Annotated[int, Field(ge=1, le=1_000_000)]
    dtype: Literal["float64", "float32"]
    device: Literal["auto", "cpu", "cuda"]

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("solver") == "lbfgs":
            raise ValueError("solver: lbfgs is now called exact")
        return values

    @model_validator(mode="after")
    def _penalties_need_the_exact_fit(self) -> Train:
        for name, value in (("ridge", self.ridge), ("shrinkage", self.shrinkage)):
            if self.solver == "adam" and value != 0:
                raise ValueError(
                    f"{name} = {value!r}, but solver adam has no {name}; it must be 0, or the solver exact"
                )
        if self.ridge != 0 and self.shrinkage != 0:
            raise ValueError(f"shrinkage = {self.shrinkage!r}, but it must be 0 where ridge = {self.ridge!r} is not")
        return self


class Evaluate(Section):
    """How the metrics are binned, and what is inferred."""

    calibration_bins: Annotated[int, Field(ge=1, le=1000)]
    histogram_bins: Annotated[int, Field(ge=1, le=1000)]
    interval_level: Annotated[Number, Field(ge=0.01, le=0.9999)]
    asymptotes: Literal["none", "estimate"]
    guess_rate: Rate | Literal["auto"]
    lapse_rate: Rate | Literal["auto"]

    @model_validator(mode="after")
    def _rates_leave_room(self) -> Evaluate:
        guess_rate, lapse_rate = (0 if rate == "auto" else rate for rate in (self.guess_rate, self.lapse_rate))
        return _check_rates(self, guess_rate, lapse_rate)


class Plot(Section):
    """What is drawn, how finely, and in which formats."""

    class_index: Annotated[int, Field(ge=0, le=9_999)]
    dpi: Annotated[int, Field(ge=30, le=600)]
    formats: Annotated[list[Literal["png", "svg", "pdf"]], Field(min_length=1)]


class Parameters(Section):
    """What every `params.yaml` holds."""

    train: Train
    evaluate: Evaluate
    plot: Plot

    def _check_class(self, n_classes: int, what: str) -> None:
        if self.plot.class_index >= n_classes:
            raise ValueError(f"plot.class_index = {self.plot.class_index}, but it must be below {what} = {n_classes}")


class Simulation(Parameters):
    """The whole of `params.yaml` where the trials are simulated."""

    simulate: Simulate

    @model_validator(mode="after")
    def _class_exists(self) -> Simulation:
        self._check_class(self.simulate.n_classes, "simulate.n_classes")
        return self


class Study(Parameters):
    """The whole of `params.yaml` where the trials are a person's own."""

    prepare: Prepare
    observers: dict[Text, Text | int | Number] | None = None  # folder -> value of the column prepare.by
    left_out: list[Text] = []  # observers and rows that are not among them, and why

    def alone(self, folder: str) -> Study:
        """The study of one observer, as it is seen from the observer's folder."""
        if self.prepare.by is None or folder not in (self.observers or {}):
            raise InputError(f"{FILE}: observers holds no {folder}; it must name the folder of each observer")
        by, value, rest = self.prepare.by, (self.observers or {})[folder], self.prepare.where
        column = by if by.isidentifier() and by.isascii() and not iskeyword(by) else f"`{by}`"
        update = {
            "trials": str(Path("../..", self.prepare.trials)),
            "where": f"{column} == {value!r}" + (f" and ({rest})" if rest else ""),
            "group": [*dict.fromkeys([by, *self.prepare.groups])],  # no lag from one to another
        }
        return self.model_copy(update={"prepare": self.prepare.model_copy(update=update)})

    @model_validator(mode="after")
    def _observers_are_told_apart(self) -> Study:
        if (self.prepare.by is None) != (self.observers is None):
            raise ValueError("observers must be given where prepare.by is, and not otherwise")
        return self

    @model_validator(mode="after")
    def _class_exists(self) -> Study:
        self._check_class(len(self.prepare.responses), "the number of prepare.response")
        return self

    @model_validator(mode="after")
    def _differences_know_no_guessing(self) -> Study:
        guess_rate = self.evaluate.guess_rate
        if self.prepare.intervals is not None and guess_rate not in (0, "auto"):
            raise ValueError(
                f"evaluate.guess_rate = {guess_rate}, but with prepare.intervals factors are differences of two "
                "intervals: the response must be which of them was chosen, and guess_rate auto or 0"
            )
        return self


def observer() -> str | None:
    """The name of this folder if it is an observer's, whose params.yaml is that of the study two above."""
    here = Path.cwd()
    return here.name if here.parent.name == OBSERVERS and not FILE.exists() else None


def file_of_parameters() -> Path:
    return Path("../..", FILE) if observer() else FILE


def read_parameters(path: Path | None = None) -> Parameters:
    """All sections, checked. Raises InputError naming the file, the key, the value and what is allowed."""
    path = path or file_of_parameters()
    document = read_yaml(path)
    if "prepare" not in document:
        return validate(Simulation, document, str(path))
    if "simulate" in document:
        raise InputError(f"{path}: it holds both prepare and simulate, but trials come from one or the other")
    study, folder = validate(Study, document, str(path)), observer()
    return study.alone(folder) if folder else study


def read_simulation() -> Simulation:
    """The same, where the trials must be simulated ones."""
    return validate(Simulation, read_yaml(FILE), str(FILE))


def read_study(path: Path | None = None) -> Study:
    """The same, where the trials must be a person's own."""
    study = read_parameters(path)
    if not isinstance(study, Study):
        raise InputError(f"{path or FILE}: prepare is missing; it must be a section of `key: value` lines")
    return study
