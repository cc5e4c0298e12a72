# `make app` and `make test` do everything on a fresh machine; the rest is for daily work.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
RUNTIME := $(VENV)/runtime.stamp
DEVELOPMENT := $(VENV)/development.stamp

.PHONY: app test docs lint format clean help
.DEFAULT_GOAL := help

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

app: $(RUNTIME) ## start the web app on http://127.0.0.1:8501
	$(RUN) -m app

test: lint ## lint, check types, run every test
	$(RUN) -m pytest

docs: $(DEVELOPMENT) ## build the site into docs/_build/html
	$(RUN) -m sphinx -W --keep-going -q -b html docs docs/_build/html

lint: $(DEVELOPMENT) ## check style, format and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(DEVELOPMENT) ## put the code in its format
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean: ## remove the environment and every cache
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache docs/_build docs/generated
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is built anew whenever what must be in it changes.
$(RUNTIME): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say PYTHON=... to choose one")'
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(DEVELOPMENT): requirements-dev.txt $(RUNTIME)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
