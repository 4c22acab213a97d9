# Every target sets up what it needs: Python 3.11 or newer with venv is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: export test lint format types check bench lock clean torture

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[check,redis,speed,dev]'
	touch $@

# Exports everything from the bundled service into output/, and shows how to look at it.
export: $(READY)
	@directory="$$($(BIN)/bulk-export export --environment local)" && echo "To look at it:" && \
	echo "  $(BIN)/python -c \"import duckdb; duckdb.sql(\\\"from '$$directory/npq-applications/*.parquet' limit 5\\\").show()\""

# Many tests wait for other processes, so three share two cores well.
test: $(READY)
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal

torture: $(READY)
	$(BIN)/python -m pytest -m torture --timeout 3600

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY)
	$(BIN)/mypy

check: lint types test

bench: $(READY)
	$(BIN)/python -m benchmarks

# Writes the versions that are installed now into constraints.txt.
lock: $(READY)
	$(BIN)/python -m pip list --format=freeze --exclude-editable | grep -viE '^(pip|setuptools|wheel)==' > constraints.txt

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
