"""A person's own trials: from a file, whatever its kind, to arrays of factors and responses.

files.py, text.py     a file as a `Table`: batches of columns that hold numbers or words
layouts.py            long files as wide ones, two intervals as their difference, signal and response of an outcome
cells.py              numbers in text; which columns hold numbers, words or text, and which words
where.py              which rows are taken
responses.py          which value is a yes
formula.py            factors by formula
design.py             the factors of any trials, coded as those of the study: `Design`
checks.py             constant, duplicated and dependent factors; trials to hold out
"""
