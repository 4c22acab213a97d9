# Every target sets up what it needs: Python 3.11 or newer with venv is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := by_hand dlt airbyte singer

.PHONY: export test lint format types check bench bench-peers lock clean torture fuzz

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[check,redis,speed,dev]'
	touch $@

# Exports everything from the bundled service into output/, and shows how to look at it.
export: $(READY)
	@directory="$$($(BIN)/bulk-export export --environment local)" && echo "To look at it:" && \
	echo "  $(BIN)/python -c \"import duckdb; duckdb.sql(\\\"from '$$directory/npq-applications/*.parquet' limit 5\\\").show()\""

# Many tests wait for other processes, so five share two cores well.
test: $(READY)
	$(BIN)/python -m pytest --numprocesses 5 --dist worksteal

torture: $(READY)
	$(BIN)/python -m pytest -m torture --timeout 3600 --numprocesses 4 --dist worksteal

fuzz: $(READY)
	$(BIN)/python -m pytest -m fuzz --timeout 7200

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY)
	$(BIN)/mypy

check: lint types test

# Speed, memory and start, some ten minutes. BENCH="--quick" gives an impression, BENCH="--write-docs" renews docs/.
bench: $(READY) .venv-plots/.ready
	$(BIN)/python -m benchmarks $(BENCH)

# What others would use, each in an environment of its own; `make bench` measures those that are there.
bench-peers: $(PEERS:%=.venv-%/.ready)

# Away from what is measured: where numpy is installed, Arrow takes longer to start.
.venv-plots/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-plots
	.venv-plots/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	touch $@

.venv-%/.ready: benchmarks/peers/%/requirements.txt benchmarks/peers/%/constraints.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(word 2,$^) --requirement $<
	touch $@

# Writes the versions that are installed now into constraints.txt.
lock: $(READY) .venv-plots/.ready
	for one in $(VENV) .venv-plots; do $$one/bin/python -m pip list --format=freeze --exclude-editable; done \
	  | grep -viE '^(pip|setuptools|wheel)==' | sort --ignore-case --unique > constraints.txt

clean:
	rm -rf $(VENV) .venv-plots $(PEERS:%=.venv-%) .mypy_cache .pytest_cache .ruff_cache .hypothesis
