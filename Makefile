# `make app` and `make test` do everything on a fresh machine; the rest is for daily work.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
RUNTIME := $(VENV)/runtime.stamp
INSTALLED := $(VENV)/installed.stamp
DEVELOPMENT := $(VENV)/development.stamp
TYPED := $(VENV)/typed
QUIETLY := --quiet --disable-pip-version-check

# A process for every core; tests of one file share what they set up, and the slow files begin.
SIDE_BY_SIDE := -n auto --dist loadfile --no-loadscope-reorder

# What one process compiled, the others read: every worker, and every program that a test starts.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: app test quick bench docs lint format lock audit clean help
.DEFAULT_GOAL := help

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

app: $(INSTALLED) ## start the web app on http://127.0.0.1:8501
	$(RUN) -m app

test: lint ## lint, check types, run every test
	$(RUN) -m pytest $(SIDE_BY_SIDE)

quick: lint ## lint, check types, run what is quick: for daily work
	$(RUN) -m pytest $(SIDE_BY_SIDE) -m "not slow and not browser"

bench: $(DEVELOPMENT) ## measure every headline beside its baseline in 30 minutes (QUICK=1: smaller cases, 3 minutes)
	$(RUN) -m benchmarks $(if $(QUICK),--quick,--out docs/benchmarks)

docs: $(DEVELOPMENT) ## build the site into docs/_build/html
	$(RUN) -m sphinx -W --keep-going -q -b html docs docs/_build/html

lint: $(DEVELOPMENT) $(TYPED) ## check style, format and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	cd $(TYPED) && $(abspath $(RUN)) -m mypy --config-file $(CURDIR)/pyproject.toml

format: $(DEVELOPMENT) ## put the code in its format
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

lock: ## write the exact versions of everything that the app needs: the newest that go together
	$(PYTHON) -m venv --clear $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install $(QUIETLY) -r requirements.txt
	$(VENV)/lock/bin/python .ci/inventory.py lock > requirements.lock.new
	mv requirements.lock.new requirements.lock
	rm -rf $(VENV)/lock

audit: $(RUNTIME) ## list licences, write sbom.json, look for known weaknesses
	$(RUN) .ci/inventory.py licences
	$(RUN) .ci/inventory.py sbom > sbom.json
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install $(QUIETLY) pip-audit==2.10.1
	$(VENV)/audit/bin/pip-audit --no-deps --disable-pip --requirement requirements.lock

clean: ## remove the environment and every cache
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache docs/_build docs/generated
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The package as it is when installed, in links: type checkers do not follow an editable installation.
$(TYPED): $(RUNTIME)
	mkdir -p $@/nonlocal_lens
	ln -sfn $(foreach room,streets models analysis app,$(CURDIR)/$(room)) $(wildcard $(CURDIR)/nonlocal_lens/*.*) $@/nonlocal_lens/

# The environment is built anew whenever what must be in it changes. What requirements lead to is
# taken as it is locked: a package that somebody releases today changes nothing that was tested.
$(RUNTIME): requirements.txt requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say PYTHON=... to choose one")'
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip install $(QUIETLY) -r requirements.txt -c requirements.lock
	touch $@

$(INSTALLED): pyproject.toml $(RUNTIME)
	$(RUN) -m pip install $(QUIETLY) --no-deps -e .
	touch $@

$(DEVELOPMENT): requirements-dev.txt $(INSTALLED)
	$(RUN) -m pip install $(QUIETLY) -r requirements-dev.txt -c requirements.lock
	touch $@
