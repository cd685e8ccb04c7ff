# Everything runs in its own .venv, made on first use. PYTHON is what makes it.
PYTHON ?= python3
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

.PHONY: example test test-all unit lint bench bench-quick audit docs wheel tox compatibility clean

example: .venv/installed
	$(BIN)/python example_project/run.py

# What needs processes, servers, browsers or minutes; tests/conftest.py says which tests those are.
SLOW := process or redis or browser or soak or grid
PYTEST := $(BIN)/python -m pytest --quiet --dist worksteal

# What a change must pass while one works on it: every behaviour of the plugin at least once.
test: lint .venv/installed-dev
	$(PYTEST) -n auto -m "not ($(SLOW))"

# What a change must pass before it lands: everything, and how much of the code that runs.
test-all: lint .venv/installed-dev
	$(BIN)/coverage erase
	$(PYTEST) -n auto -m "not ($(SLOW))" --cov --cov-report=
	$(PYTEST) -n 4 -m "$(SLOW)" --cov --cov-append --cov-report=term

# For the next seconds: what works without a crawl.
unit: .venv/installed-dev
	$(PYTEST) -n auto -m "unit and not ($(SLOW))"

lint: .venv/installed-dev
	$(BIN)/ruff check . .ci/audit .ci/build
	$(BIN)/ruff format --check . .ci/audit .ci/build
	cd example_project && ../$(BIN)/scrapy-lint
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.readthedocs .readthedocs.yaml
	$(BIN)/pre-commit validate-config
	$(BIN)/mypy
	$(BIN)/mypy tests_typing

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

# The matrix of tox.ini: as many of its Pythons as are installed. It takes an hour.
tox: .venv/installed-dev
	$(BIN)/tox

# A part of it, in minutes: what meets Scrapy, Twisted and the other libraries, with the oldest that setup.cfg allows and at the
# same time on a reactor that is not asyncio's, or on asyncio's where Redis needs it; and the example on Scrapy Cloud's entry
# point and on scrapyd.
MEETING := tests/api tests/families/test_families_hostile.py tests/families/test_families_solutions.py \
	tests/simulator/test_simulator_site.py tests/test_reactors.py tests/test_setup.py tests/test_slots.py tests/test_stops.py
compatibility: .venv/installed-dev
	$(BIN)/tox -e min -- --reactor=default $(MEETING)
	$(BIN)/tox -e min -- tests/stores tests/scrapy_redis
	$(BIN)/tox -e deploy

# The sdist and the wheel, twice to the same bytes, and whether the wheel works where nothing but itself is installed.
wheel: .venv/installed-dev
	rm -rf build
	$(BIN)/python .ci/build
	mkdir build && mv dist build/first
	umask 077 && TZ=Asia/Tokyo $(BIN)/python .ci/build
	for one in dist/*; do cmp $$one build/first/$${one#dist/} || exit 1; done
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
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
