"""A person's own trials: from a file of any kind to arrays of factors and responses.

table.py              `Table`: batches of columns that hold numbers or words
read.py               a file as a data frame: text.py, nested.py (arrays and records); values.py: numbers and words
files.py              that frame as a `Table`
long.py               a long file as one row per trial
layouts.py            two intervals as their difference; the signal that an outcome implies
cells.py              numbers in text; whether columns hold numbers, words (and which) or text
where.py              which rows are taken
responses.py          which value is a yes
coding.py             factors without a formula
formula.py            which formulas are allowed; parsed.py: a formula as data; materialise.py: its factors
design.py             the factors of any trials, coded as those of the study: `Design`
gather.py             the trials without missing values
checks.py             constant, duplicated and dependent factors; trials to hold out
"""
