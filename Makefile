# `make repro` and `make test` work on a fresh clone: they make the virtual environment first.
PYTHON ?= python3
VENV := .venv
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

PICTURES := recovery trajectory

PICTURES_OF_EXACT := map intervals planning predictions

.PHONY: repro test lint format bench study ci lock-check gate report experiments docs clean
.NOTPARALLEL:

repro: $(VENV)/run-time           ## run whatever of the pipeline is out of date
	$(RUN) dvc repro

test: $(VENV)/development         ## the whole test suite, on all cores
	$(RUN) python -m pytest -n auto --dist worksteal

lint: $(VENV)/development         ## format, lint and types, as CI checks them
	$(RUN) ruff format --check . && $(RUN) ruff check . && $(RUN) mypy stages comparisons tests benchmarks

format: $(VENV)/development       ## rewrite the code in the project's format
	$(RUN) ruff format . && $(RUN) ruff check --fix .

bench: $(VENV)/development        ## what is promised of speed, measured
	$(RUN) python -m benchmarks.simulate
	$(RUN) python -m benchmarks.memory
	$(RUN) python -m benchmarks.adam
	$(RUN) python -m benchmarks.exact
	$(RUN) python -m benchmarks.growth

study: $(VENV)/development        ## do the corrected intervals cover? simulated over designs, some ten minutes
	$(RUN) python -m benchmarks.coverage

ci: $(VENV)/development           ## all that decides about a change against BASE (default: where it left origin's)
	$(MAKE) --keep-going lint lock-check gate report test

lock-check: $(VENV)/run-time      ## fail if a stage would run on the committed code, or give other metrics
	$(RUN) python -m comparisons.lock

gate: $(VENV)/run-time            ## fail if a metric is worse than at BASE by more than comparisons/rules.yaml allows
	$(RUN) python -m comparisons.gate $${BASE:+"$$BASE"}

report: $(VENV)/run-time          ## write report/report.md: what changed since BASE, for people
	$(RUN) python -m comparisons.report $${BASE:+"$$BASE"}

docs: repro                       ## take the pictures of README.md, of the default parameters and of an exact fit
	cp $(PICTURES:%=data/figures/%.png) docs
	$(RUN) .ci/exact-pictures $(PICTURES_OF_EXACT)

experiments: $(VENV)/run-time     ## run the grid of comparisons/grid.yaml, as far as it is missing, and draw it into docs/
	$(RUN) python -m comparisons.experiments

clean:                            ## remove the environment and everything that was written, but no cache
	rm -rf $(VENV) && git clean -fdXq data report

$(VENV)/run-time: requirements.txt constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	touch $@

$(VENV)/development: requirements-dev.txt $(VENV)/run-time
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	touch $@
