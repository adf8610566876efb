# `make repro` and `make test` work on a fresh clone: they make the virtual environment first.
# lock-check, gate, report and show also work on a study: make gate FOLDER=studies/rat
PYTHON ?= python3
VENV := .venv
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps

FOLDER := .
AT := --folder "$(FOLDER)"

.PHONY: help repro page test lint format bench study ci lock-check gate report experiments show docs clean coverage \
	torture
.NOTPARALLEL:

help:                             ## this list
	@sed -n 's/^\([a-z-]*\):.*##\(.*\)/    make \1\t\2/p' Makefile | expand -t 24

repro: $(VENV)/installed          ## run whatever of the pipeline is out of date
	@$(RUN) python -m comparisons.unlock
	$(RUN) dvc repro dvc.yaml studies/rat/dvc.yaml && $(RUN) python -m stages.summary

page: $(VENV)/installed           ## open the page of the run in a browser; of a study: make page FOLDER=studies/rat
	@$(RUN) python -m comparisons.unlock
	$(RUN) dvc repro "$(FOLDER)/dvc.yaml"
	$(RUN) python -m webbrowser "file://$(abspath $(FOLDER))/data/report.html"

test: $(VENV)/installed           ## the whole test suite, on all cores
	$(RUN) python -m pytest -n auto --dist worksteal

lint: $(VENV)/installed           ## format, lint and types, as CI checks them
	$(RUN) ruff format --check . && $(RUN) ruff check . && $(RUN) mypy hdlogit stages comparisons tests benchmarks studies

format: $(VENV)/installed         ## rewrite the code in the project's format
	$(RUN) ruff format . && $(RUN) ruff check --fix .

bench: $(VENV)/installed          ## measure speed and memory, against what is promised
	$(RUN) python -m benchmarks.simulate
	$(RUN) python -m benchmarks.memory
	$(RUN) python -m benchmarks.adam
	$(RUN) python -m benchmarks.exact
	$(RUN) python -m benchmarks.growth

torture: $(VENV)/installed       ## damaged inputs, kills, other environments: nothing may be lost or wrong; an hour
	$(RUN) python -m tests.torture.fuzz 5000
	$(RUN) python -m tests.torture.kills 400
	$(RUN) python -m tests.torture.environments

coverage: $(VENV)/installed       ## do the corrected intervals cover? simulated over all designs, for hours
	$(RUN) python -m benchmarks.coverage

ci: $(VENV)/installed             ## all checks of a change against BASE (default: where it branched off origin's)
	$(MAKE) --keep-going lint lock-check gate report test \
	    $$(git ls-files 'studies/*dvc.lock' | sed 's|dvc.lock$$|check|')

studies/%/check: $(VENV)/installed
	$(MAKE) --keep-going lock-check gate FOLDER="$(@D)"

lock-check: $(VENV)/installed     ## fail if a stage is out of date on the committed code, or gives other metrics
	$(RUN) python -m comparisons.ci.lock $(AT)

gate: $(VENV)/installed           ## fail if a metric is worse than at BASE by more than comparisons/ci/rules.yaml allows
	$(RUN) python -m comparisons.ci.gate $(AT) $${BASE:+"$$BASE"}

report: $(VENV)/installed         ## write report/report.md: what changed since BASE, for people
	$(RUN) python -m comparisons.ci.report $(AT) $${BASE:+"$$BASE"}

experiments: $(VENV)/installed    ## run what is missing of the grid of experiments, and draw it into docs/
	$(RUN) python -m comparisons.experiments.run

show: $(VENV)/installed           ## the experiments of this commit: the numbers that matter, and what was changed
	@$(RUN) python -m comparisons.experiments.show $(AT)

docs: repro                       ## renew the pictures in docs/, from this pipeline and a run with the other solver
	$(RUN) python -m comparisons.ci.pictures

clean:                            ## remove the environment and everything that was written, except the cache
	rm -rf $(VENV) && git clean -fdXq data report

$(VENV)/installed: requirements.lock requirements-torch.lock
	@python="$(PYTHON)"; test ! -x $(VENV)/bin/python || python=$(VENV)/bin/python; "$$python" -c 'import sys; \
	    sys.exit(sys.version_info < (3, 11) and f"error: {sys.executable} is Python {sys.version.split()[0]}, but 3.11 or \
newer is needed: make clean, then make PYTHON=python3.12 with what you want to make")'
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -r requirements.lock
	$(INSTALL) -r requirements-torch.lock
	$(VENV)/bin/python -m pip check
	touch $@

study: $(VENV)/installed          ## fit your own trials: make study TRIALS=~/mine.csv RESPONSE=choice=right OPTIONS="--group day"
	@$(foreach name,TRIALS RESPONSE,$(if $($(name)),,$(error $(name) is missing, as in: make study \
	    TRIALS=~/mine.csv RESPONSE=choice=right)))
	@$(RUN) python -m comparisons.unlock
	@study="studies/$$(basename "$${TRIALS%.*}")"; \
	$(RUN) python -m stages.new "$$study" "$$TRIALS" --response "$$RESPONSE" $(OPTIONS) || exit; \
	if test -f "$$study/data/observers.csv"; then \
	    $(RUN) dvc repro --recursive --keep-going "$$study"; status=$$?; \
	    $(RUN) python -m stages.observers "$$study" && exit $$status; \
	else \
	    $(RUN) dvc repro "$$study/dvc.yaml" && cd "$$study" && PYTHONPATH="$(CURDIR)" $(RUN) python -m stages.summary; \
	fi
