# `make repro` and `make test` work on a fresh clone: they make the virtual environment first.
# lock-check, gate, report and show also work on a study: make gate FOLDER=studies/rat
PYTHON ?= python3
FOLDER := .
VENV := .venv
RUN := PATH="$$PWD/$(VENV)/bin:$$PATH"
PIP := $(VENV)/bin/python -m pip
INSTALL := $(PIP) install --quiet --disable-pip-version-check --require-hashes --no-deps

# What a person gives reaches the shell as it is, in the environment, so that nobody runs what looks like a command in a
# name. (OPTIONS are words as in the shell, which stages.study tells apart.)
GIVEN := PYTHON FOLDER BASE TRIALS RESPONSE OPTIONS
$(foreach name,$(GIVEN),$(eval override $(name) := $$(value $(name))))
export $(GIVEN)
AT := top="$$PWD"; cd "$$FOLDER" && PATH="$$top/$(VENV)/bin:$$PATH" PYTHONPATH="$$top"

.PHONY: help repro page test lint format bench study ci lock-check gate report experiments show docs clean coverage \
	torture
.NOTPARALLEL:

help:                             ## this list
	@sed -n 's/^\([a-z-]*\):.*##\(.*\)/    make \1\t\2/p' Makefile | expand -t 24

repro: $(VENV)/installed          ## run whatever of the pipeline is out of date
	@$(RUN) python -m comparisons.unlock
	$(RUN) python -m dvc repro dvc.yaml studies/rat/dvc.yaml && $(RUN) python -m stages.summary

page: $(VENV)/installed           ## open the page of the run in a browser; of a study: make page FOLDER=studies/rat
	@$(RUN) python -m comparisons.unlock
	$(RUN) python -m dvc repro "$$FOLDER/dvc.yaml"
	$(RUN) python -m webbrowser "file://$$(cd "$$FOLDER/data" && \
	    ls -d "$$PWD/index.html" "$$PWD/report.html" 2>/dev/null | head -n 1)"

test: $(VENV)/installed           ## the whole test suite, on all cores
	$(RUN) python -m pytest -n auto --dist worksteal

lint: $(VENV)/installed           ## format, lint and types, as CI checks them
	$(RUN) python -m ruff format --check . && $(RUN) python -m ruff check .
	$(RUN) python -m mypy hdlogit stages comparisons tests benchmarks studies

format: $(VENV)/installed         ## rewrite the code in the project's format
	$(RUN) python -m ruff format . && $(RUN) python -m ruff check --fix .

bench: $(VENV)/installed          ## measure speed and memory, against what is promised
	$(RUN) python -m benchmarks.memory
	$(RUN) python -m benchmarks.adam
	$(RUN) python -m benchmarks.exact

torture: $(VENV)/installed       ## damaged inputs, kills, other environments: nothing may be lost or wrong; an hour
	$(RUN) python -m tests.torture.damage 5000
	$(RUN) python -m tests.torture.kills 400
	$(RUN) python -m tests.torture.environments

coverage: $(VENV)/installed       ## do the corrected intervals cover? simulated over all designs, for hours
	$(RUN) python -m benchmarks.coverage

ci: $(VENV)/installed             ## all checks of a change against BASE (default: where it branched off origin's)
	$(MAKE) --keep-going lint lock-check gate report test \
	    $$(git ls-files 'studies/*dvc.lock' | sed 's|dvc.lock$$|check|')

studies/%/check: $(VENV)/installed
	$(MAKE) --keep-going lock-check gate FOLDER="$(@D)"

lock-check: $(VENV)/installed     ## fail if the code gives another dvc.lock, metrics or pictures in docs/ than committed
	$(AT) python -m dvc repro
	@cd "$$FOLDER" && git cat-file -e HEAD:./dvc.lock && git --no-pager diff --exit-code HEAD -- dvc.lock data/metrics.json
	@cd "$$FOLDER" && for shown in docs/*.png; do \
	    test ! -f "data/figures/$${shown#docs/}" || cmp "$$shown" "data/figures/$${shown#docs/}" || exit; done
	@echo "dvc.lock, the metrics and the pictures in docs/ are those of the code."

gate: $(VENV)/installed           ## fail if a metric is worse than at BASE by more than comparisons/ci/rules.yaml allows
	$(AT) python -m comparisons.ci.gate $${BASE:+"$$BASE"}

report: $(VENV)/installed         ## write report/report.md: what changed since BASE, for people
	$(AT) python -m comparisons.ci.gate --report $${BASE:+"$$BASE"}

experiments: $(VENV)/installed    ## run what is missing of the grid of experiments, and draw it into docs/
	$(RUN) python -m comparisons.experiments.run

show: $(VENV)/installed           ## the experiments of this commit: the numbers that matter, and what was changed
	@$(AT) python -m comparisons.experiments.show

docs: repro                       ## renew the pictures in docs/, from this pipeline or else from an exact fit
	@other=$$(mktemp -d); trap 'rm -r "$$other"' EXIT; export PYTHONPATH="$$PWD" PATH="$$PWD/$(VENV)/bin:$$PATH"; \
	sed 's/solver: adam/solver: exact/' params.yaml > "$$other/params.yaml"; \
	for stage in simulate train evaluate plot; do (cd "$$other" && python -m stages.$$stage) || exit; done; \
	for shown in docs/*.png; do for data in "$$other/data" data; do \
	    test ! -f "$$data/figures/$${shown#docs/}" || cp "$$data/figures/$${shown#docs/}" docs; done; done; \
	cp "$$other/data/figures/calibration.png" docs/predictions.png; \
	cp "$$other/data/metrics.json" docs/exact_metrics.json

clean:                            ## remove the environment and everything that was written, except the cache
	rm -rf $(VENV) && git clean -fdXq data report

$(VENV)/installed: requirements.lock requirements-torch.lock requirements-torch-pypi.lock
	@test ! -x $(VENV)/bin/python || PYTHON=$(VENV)/bin/python; "$$PYTHON" -c 'import sys; \
	    sys.exit(not (3, 11) <= sys.version_info < (3, 14) and f"error: {sys.executable} is Python \
{sys.version.split()[0]}, but 3.11, 3.12 or 3.13 is needed: make clean, then make PYTHON=python3.13 with what you want to make")'
	test -x $(VENV)/bin/python || "$$PYTHON" -m venv $(VENV)
	$(INSTALL) -r requirements.lock
	@lock=requirements-torch.lock; build=$$(sed -n 's/^torch==\([^ ]*\).*/\1/p' $$lock); \
	$(PIP) index versions torch 2>/dev/null | grep -qF "$$build" || lock=requirements-torch-pypi.lock; \
	test $$lock = requirements-torch.lock || test "$$(uname)" != Linux || echo "pip sees no torch $$build: \
PyPI's build follows, with CUDA, 3 GB that nothing here uses (how to avoid them: docs/ci.md)"; \
	$(INSTALL) -r $$lock
	$(PIP) check
	touch $@

study: $(VENV)/installed          ## fit your own trials: make study TRIALS=~/mine.csv RESPONSE=choice=right OPTIONS="--group day"
	@$(RUN) python -m comparisons.unlock
	@STUDY_OPTIONS="$$OPTIONS" $(RUN) python -m stages.study $${RESPONSE:+--response="$$RESPONSE"} -- $${TRIALS:+"$$TRIALS"}
