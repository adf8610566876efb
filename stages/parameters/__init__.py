"""`params.yaml`: one section per stage. A stage uses its own, but checks all of them before it does any work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from stages.parameters.documents import read_yaml, validate

FILE = Path("params.yaml")


Number = Annotated[float, Field(allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what numpy.random.RandomState and torch both accept


class Section(BaseModel):
    """Keys and their kinds: no other keys, no text for a number, no conversion from true to 1."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _whole(cls, value: Any, key: ValidationInfo) -> Any:
        """1e4 and 10000.0 are integers, too."""
        whole = isinstance(value, float) and value.is_integer()
        return int(value) if whole and cls.model_fields[str(key.field_name)].annotation is int else value


class Simulate(Section):
    """The true observer and its trials."""

    seed: Seed
    n_factors: Annotated[int, Field(ge=1, le=100_000)]
    n_classes: Annotated[int, Field(ge=1, le=10_000)]
    n_trials: Annotated[int, Field(ge=1, le=1_000_000_000)]
    n_test_trials: Annotated[int, Field(ge=1, le=1_000_000_000)]
    weight_scale: Annotated[Number, Field(ge=1e-6, le=1e6)]
    dtype: Literal["float64", "float32"]
    streams: Literal["independent", "notebook"]


class Train(Section):
    """The solver and its settings."""

    solver: Literal["adam", "lbfgs"]
    seed: Seed
    learning_rate: Annotated[Number, Field(gt=0, le=1e6)]
    beta1: Annotated[Number, Field(ge=0, lt=1)]
    beta2: Annotated[Number, Field(ge=0, lt=1)]
    amsgrad: bool
    num_epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)]
    ridge: Annotated[Number, Field(ge=0, le=1e6)] | Literal["auto"]
    tolerance: Annotated[Number, Field(gt=0, le=1)]
    max_iterations: Annotated[int, Field(ge=1, le=1_000_000)]
    dtype: Literal["float64", "float32"]
    device: Literal["auto", "cpu", "cuda"]

    @model_validator(mode="after")
    def _ridge_needs_the_exact_fit(self) -> Train:
        if self.solver == "adam" and self.ridge != 0:
            raise ValueError(f"ridge = {self.ridge!r}, but solver adam has no ridge; it must be 0, or the solver lbfgs")
        return self


class Evaluate(Section):
    """How the metrics are binned."""

    calibration_bins: Annotated[int, Field(ge=1, le=1000)]
    histogram_bins: Annotated[int, Field(ge=1, le=1000)]
    interval_level: Annotated[Number, Field(gt=0, lt=1)]


class Plot(Section):
    """What is drawn, how finely, and in which formats."""

    class_index: Annotated[int, Field(ge=0, le=9_999)]
    dpi: Annotated[int, Field(ge=30, le=600)]
    formats: Annotated[list[Literal["png", "svg", "pdf"]], Field(min_length=1)]


class Parameters(Section):
    """The whole of `params.yaml`."""

    simulate: Simulate
    train: Train
    evaluate: Evaluate
    plot: Plot

    @model_validator(mode="after")
    def _class_exists(self) -> Parameters:
        if self.plot.class_index >= self.simulate.n_classes:
            raise ValueError(
                f"plot.class_index = {self.plot.class_index}, but it must be below simulate.n_classes = "
                f"{self.simulate.n_classes}"
            )
        return self


def read_parameters(path: Path = FILE) -> Parameters:
    """All sections, checked. Raises InputError naming the file, the key, the value and what is allowed."""
    return validate(Parameters, read_yaml(path), str(path))
