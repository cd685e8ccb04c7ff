# Everything runs in its own .venv, made on first use. PYTHON is what makes it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: example test lint bench bench-quick audit docs wheel tox clean

example: .venv/installed
	$(BIN)/python example_project/run.py

test: lint .venv/installed-dev
	$(BIN)/python -m pytest -n auto --cov --cov-report=term

lint: .venv/installed-dev
	$(BIN)/ruff check . .ci/audit
	$(BIN)/ruff format --check . .ci/audit
	$(BIN)/mypy

# This plugin beside what its users would otherwise do: an hour and a half, on a machine that does nothing else. Then its page in the docs.
bench: .venv/installed-dev
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.page

# Whether the benchmark works, in a minute. It judges no figure, and keeps none.
bench-quick: .venv/installed-dev
	$(BIN)/python -m benchmarks --quick

# Known vulnerabilities of what the project depends on.
audit: .venv/installed-dev
	$(BIN)/python .ci/audit

# The documentation, in build/docs/html; a warning is an error.
docs: .venv/installed-dev
	$(BIN)/sphinx-build -W --keep-going -n -q -b doctest docs build/docs/doctest
	$(BIN)/sphinx-build -W --keep-going -n -q -b html docs build/docs/html

# On the oldest Scrapy that is supported, on 2.14.2, and on the newest.
tox: .venv/installed-dev
	$(BIN)/tox

# The wheel, and whether it works where nothing but itself is installed.
wheel: .venv/installed-dev
	rm -rf dist build
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip install --quiet dist/*.whl
	build/empty/bin/python example_project/run.py

clean:
	rm -rf .venv .tox build dist *.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-dev: .venv/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ .venv/installed
