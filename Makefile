# `make repro` and `make test` work on a fresh clone: they make the virtual environment first.
# lock-check, gate, report and show also work on a study: make gate FOLDER=studies/rat
PYTHON ?= python3
VENV := .venv
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

FOLDER := .
AT := --folder "$(FOLDER)"

.PHONY: help repro page test lint format bench study ci lock-check gate report experiments show docs clean coverage
.NOTPARALLEL:

help:                             ## this list
	@sed -n 's/^\([a-z-]*\):.*##\(.*\)/    make \1\t\2/p' Makefile | expand -t 24

repro: $(VENV)/run-time           ## run whatever of the pipeline is out of date
	$(RUN) dvc repro dvc.yaml studies/rat/dvc.yaml && $(RUN) python -m stages.summary

page: repro                       ## open the page of the run in a browser; of a study: make page FOLDER=studies/rat
	$(RUN) python -m webbrowser "file://$(abspath $(FOLDER))/data/report.html"

test: $(VENV)/development         ## the whole test suite, on all cores
	$(RUN) python -m pytest -n auto --dist worksteal

lint: $(VENV)/development         ## format, lint and types, as CI checks them
	$(RUN) ruff format --check . && $(RUN) ruff check . && $(RUN) mypy hdlogit stages comparisons tests benchmarks studies

format: $(VENV)/development       ## rewrite the code in the project's format
	$(RUN) ruff format . && $(RUN) ruff check --fix .

bench: $(VENV)/development        ## what is promised of speed, measured
	$(RUN) python -m benchmarks.simulate
	$(RUN) python -m benchmarks.memory
	$(RUN) python -m benchmarks.adam
	$(RUN) python -m benchmarks.exact
	$(RUN) python -m benchmarks.growth

coverage: $(VENV)/development     ## do the corrected intervals cover? simulated over designs, some ten minutes
	$(RUN) python -m benchmarks.coverage

ci: $(VENV)/development           ## all that decides about a change against BASE (default: where it left origin's)
	$(MAKE) --keep-going lint lock-check gate report test

lock-check: $(VENV)/run-time      ## fail if a stage would run on the committed code, or give other metrics
	$(RUN) python -m comparisons.ci.lock $(AT)

gate: $(VENV)/run-time            ## fail if a metric is worse than at BASE by more than comparisons/ci/rules.yaml allows
	$(RUN) python -m comparisons.ci.gate $(AT) $${BASE:+"$$BASE"}

report: $(VENV)/run-time          ## write report/report.md: what changed since BASE, for people
	$(RUN) python -m comparisons.ci.report $(AT) $${BASE:+"$$BASE"}

experiments: $(VENV)/run-time     ## run the grid of experiments, as far as it is missing, and draw it into docs/
	$(RUN) python -m comparisons.experiments.run

show: $(VENV)/run-time            ## the experiments of this commit: the numbers that matter, and what was changed
	@$(RUN) python -m comparisons.experiments.show $(AT)

docs: repro                       ## take the pictures in docs/: of this pipeline, and of one with the other solver
	$(RUN) python -m comparisons.ci.pictures

clean:                            ## remove the environment and everything that was written, but no cache
	rm -rf $(VENV) && git clean -fdXq data report

$(VENV)/run-time: requirements.txt constraints.txt
	@python="$(PYTHON)"; test ! -x $(VENV)/bin/python || python=$(VENV)/bin/python; "$$python" -c 'import sys; \
	    sys.exit(sys.version_info < (3, 11) and f"error: {sys.executable} is Python {sys.version.split()[0]}, but 3.11 or \
	newer is needed: make clean, then make PYTHON=python3.12 with what you want to make")'
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	touch $@

$(VENV)/development: requirements-dev.txt $(VENV)/run-time
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	touch $@

STUDY = studies/$(basename $(notdir $(TRIALS)))

study: $(VENV)/run-time           ## fit your own trials: make study TRIALS=~/mine.csv RESPONSE=choice=right OPTIONS="--group day"
	$(RUN) python -m stages.new $(STUDY) "$(TRIALS)" --response "$(RESPONSE)" $(OPTIONS)
	$(RUN) dvc repro $(STUDY)/dvc.yaml
	cd $(STUDY) && PYTHONPATH="$(CURDIR)" $(RUN) python -m stages.summary
