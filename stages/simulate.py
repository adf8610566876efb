"""Stage `simulate`: the true observer, its training trials and its held-out trials."""

from __future__ import annotations

from hdlogit.psychometric.simulation import TEST, TRAIN, draw_notebook_trials, draw_observer, draw_trials
from stages.files.errors import run_stage
from stages.files.parameters import read_simulation
from stages.files.writing import Outputs


def main() -> None:
    p = read_simulation().simulate
    notebook = p.streams == "notebook"
    with Outputs("simulate") as outputs:
        observer = outputs.array("observer.npy", (p.n_factors + 1, p.n_classes), "float64")
        observer[:] = draw_observer(p.seed, p.n_factors, p.n_classes, p.weight_scale, notebook)
        rates = outputs.array("observer_rates.npy", (2, p.n_classes), "float64")
        rates[:] = [[p.guess_rate], [p.lapse_rate]]
        for name, split, n_trials in (("train", TRAIN, p.n_trials), ("test", TEST, p.n_test_trials)):
            factors = outputs.array(f"{name}/factors.npy", (n_trials, p.n_factors), p.dtype)
            responses = outputs.array(f"{name}/responses.npy", (n_trials, p.n_classes), "bool")
            if notebook and split == TRAIN:
                draw_notebook_trials(p.seed, observer, factors, responses, p.guess_rate, p.lapse_rate)
            else:
                draw_trials(p.seed, split, observer, factors, responses, p.guess_rate, p.lapse_rate)
            size = f"{n_trials} trials, {p.n_factors} factors, {p.n_classes} classes"
            print(f"{name}: {size}, {responses.mean():.3f} yes")


if __name__ == "__main__":
    run_stage(main)
