"""A person's own trials: from a file of any kind to arrays of factors and responses.

read.py               a file as a data frame: text.py; nested.py (arrays and records)
values.py             numbers, words and text in columns; which words are a missing value
programs.py           which rows of an experiment program's file are trials
long.py               a long file as one row per trial; two intervals as their difference
where.py              which rows are taken
responses.py          which value is a yes; rows that stand for several trials
choose.py             which columns can be factors, where nobody names any
coding.py             columns as factors, by formula, and lags; learned from a study's trials and applied to others
design.py             all of it: a study's trials, coded
prepared.py           trials to hold out; constant, copied and dependent factors
observers.py          who is in a file whose observers are fitted each alone
"""
