"""The files in this folder, as polars writes them: `python make.py`, with polars 2.1.0, which nothing else needs."""

from pathlib import Path

import polars as pl  # type: ignore[import-not-found]

HERE = Path(__file__).parent
N = 60
TABLE = pl.DataFrame(
    {
        "contrast": [None if i == 7 else (37 * i % 100) / 8 - 6 for i in range(N)],
        "dots": [i * i % 11 for i in range(N)],
        "rule": ["abc"[i * i % 3] for i in range(N)],
        "easy": [i % 4 == 1 for i in range(N)],
        "choice": ["right" if i * 7 % 5 < 2 else "left" for i in range(N)],
    },
    schema_overrides={"dots": pl.UInt8, "rule": pl.Categorical, "choice": pl.Enum(["left", "right"])},
)

if __name__ == "__main__":
    TABLE.write_csv(HERE / "trials.csv")
    TABLE.write_csv(HERE / "decimal_comma.csv", separator=";", decimal_comma=True)
    TABLE.write_parquet(HERE / "trials.parquet")
    TABLE.write_ipc(HERE / "trials.arrow", compression="zstd")
