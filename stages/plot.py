"""Stage `plot`: draw what `train` and `evaluate` have written, and put it on a page, data/report.html.

What a paper says of it is in data/paper.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from stages.figures import FIGURES
from stages.figures.style import saved
from stages.files import DATA
from stages.files.account import read_account
from stages.files.errors import run_stage
from stages.files.families import families
from stages.files.parameters import read_parameters
from stages.files.tables import read_json, read_lines, read_table
from stages.files.writing import Outputs
from stages.page.paper import paper
from stages.page.render import Picture, render

HASHED = ("train/factors.npy", "train/responses.npy", "model.safetensors")  # which trials and model these are
TABLES = "calibration.csv", "coefficients.csv", "trajectory.csv"  # of every fit
OF_ONE_CLASS = ("curve", "curve_bins", "psychometric_points", "replication")


def main() -> None:
    parameters = read_parameters()
    p, metrics, account = parameters.plot, read_json("metrics.json"), read_account()
    tables = read_tables(p.class_index, account["classes"] if account else [], p.axis)
    answer, pictures = read_lines("inference/answer.txt"), dict[str, Picture]()
    sections = parameters.model_dump(mode="json")
    with Outputs("plot") as outputs:
        for each in FIGURES:
            needed = each.tables(tables)
            if not needed or each.name in pictures:
                continue
            path = outputs.path(f"figures/{each.name}.png")
            with saved(path, p.dpi, ["png", *p.formats], p.width) as figure:  # the page shows the first
                each.draw(figure, *needed, metrics=metrics)
            width, height = figure.get_size_inches()
            pictures[each.name] = each.section, path, (width, height), each.caption()
        outputs.text("paper.md", paper(sections, metrics, account, tables, answer))
        page = render(
            parameters=sections,
            metrics=metrics,
            account=account,
            tables=tables,
            answer=answer,
            left_out=read_lines("inference/left_out.txt"),
            pictures=[*pictures.values()],
            hashed=[DATA / name for name in HASHED],
        )
        outputs.text("report.html", page)


def read_tables(class_index: int, classes: Sequence[str], axis: Sequence[Any] | None = None) -> dict[str, pd.DataFrame]:
    """The tables, by their paths in data/ without .csv; some only of the chosen class.

    And the best coefficients that there are, `shown`; of them `weights`, of the chosen class without its bias, with
    families and smooth ones. The chosen class is the one of this index (classes: names, if they have any), or the
    first one where that has no estimate. axis: plot.axis.
    """
    inferred = (f"inference/{path.name}" for path in sorted(DATA.glob("inference/*.csv")))
    tables = {name.removesuffix(".csv"): read_table(name) for name in (*TABLES, *inferred)}
    shown = tables.get("inference/coefficients", tables["coefficients"])
    wanted = dict(enumerate(classes)).get(class_index, str(class_index))
    chosen = wanted if wanted in [*shown["class"]] else shown["class"].iloc[0]
    for name in tables.keys() & {f"inference/{one}" for one in OF_ONE_CLASS}:
        tables[name] = tables[name][tables[name]["class"] == chosen]
    weights = shown[(shown["class"] == chosen) & (shown.factor != "bias")].reset_index(drop=True)
    weights = weights.join(families([] if "true" in weights else [*weights.factor], axis))
    if (smooth := tables.get("inference/smooth")) is not None:
        weights = weights.merge(smooth.drop(columns="family"), "left", ["class", "factor"])
    return tables | {"shown": shown, "weights": weights}


if __name__ == "__main__":
    run_stage(main)
