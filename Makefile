# Every target sets up what it needs: Python 3.11 or newer with venv is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := by_hand dlt airbyte singer loading
DECODE := bulk_export/transform/decode
# The code that decides over the bytes of a page, and what runs it from end to end.
DECODER_TESTS := tests/unit/transform tests/service/pipelines
SANITIZERS := -g -O1 -std=c11 -fno-strict-aliasing -fsanitize=address,undefined -fno-sanitize-recover=undefined
CLANG ?= clang
AZURITE := 3.35.0
FUZZ_SECONDS ?= 90
SHARED := share/man/man1/bulk-export.1 share/bash-completion/completions/bulk-export \
  share/zsh/site-functions/_bulk-export share/fish/vendor_completions.d/bulk-export.fish

.PHONY: export test test-python test-build man lint format types check bench bench-peers lock clean torture fuzz
.PHONY: test-integrations test-snowflake test-sail sanitize fuzz-kernel wheels container docs

# Installing compiles the decoder, where there is a C compiler; a change of its sources does so again.
$(READY): pyproject.toml constraints.txt hatch_build.py $(wildcard $(DECODE)/kernel/*.[ch])
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

# The decoder in Python, as where there is no compiled one.
test-python: $(READY)
	BULK_EXPORT_DECODER=python $(BIN)/python -m pytest --numprocesses 5 --dist worksteal $(DECODER_TESTS)

# Builds the package and installs it, and runs what the compiled decoder is fuzzed with. Needs a C compiler.
test-build: $(READY)
	$(BIN)/python -m pytest -m build --numprocesses 2

# What needs a server (PostgreSQL; S3 by moto, Azure Storage by Azurite, which needs Node.js), Java (Spark) or heavy
# packages; what is not installed is skipped, and says so.
test-integrations: .venv-integrations/.ready .venv-moto/.ready
	if command -v npm > /dev/null; then \
	  npm install --prefix .azurite --silent --no-audit --no-fund --no-save azurite@$(AZURITE); \
	else echo "There is no npm, so nothing is tested with Azurite."; fi
	.venv-integrations/bin/python -m pytest -m integration --numprocesses 4 --dist loadfile

# An emulator of Snowflake. Its connector wants other versions than those of constraints.txt.
test-snowflake: .venv-snowflake/.ready
	.venv-snowflake/bin/python -m pytest -m integration --numprocesses 0 tests/service/destinations/test_snowflake.py

.venv-snowflake/.ready: $(READY)
	$(PYTHON) -m venv .venv-snowflake
	.venv-snowflake/bin/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[check,redis,speed,dev,snowflake]' 'fakesnow>=0.11.22,<0.12'
	touch $@

# An engine that speaks Spark's protocol without Java. It wants an older client of Spark than that of constraints.txt.
test-sail: .venv-sail/.ready
	.venv-sail/bin/python -m pytest -m integration --numprocesses 0 tests/service/integrations/test_sail.py

.venv-sail/.ready: $(READY)
	$(PYTHON) -m venv .venv-sail
	.venv-sail/bin/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[check,redis,speed,dev]' 'pysail>=0.7.2,<0.8' 'pyspark-client>=4.1,<4.2' 'pandas<3'
	touch $@

.venv-integrations/.ready: $(READY)
	$(PYTHON) -m venv .venv-integrations
	.venv-integrations/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[check,redis,speed,dev,integrations]'
	touch $@

# Away from the rest: what moto needs does not go together with what plots need.
.venv-moto/.ready: tests/servers/moto.txt
	$(PYTHON) -m venv .venv-moto
	.venv-moto/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# The recipe for Airflow, which wants other versions than those of constraints.txt and takes some minutes.
.PHONY: test-airflow
test-airflow: .venv-airflow/.ready
	.venv-airflow/bin/python -m pytest -m integration --numprocesses 0 tests/service/integrations/test_airflow.py

.venv-airflow/.ready: $(READY)
	$(PYTHON) -m venv .venv-airflow
	.venv-airflow/bin/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[check,redis,speed,dev]' 'apache-airflow>=3.1,<4'
	touch $@

# The tests of the compiled decoder with AddressSanitizer and UBSan, away from the tree: by gcc, which has a library of
# the first to load into Python. Python's own memory comes from malloc, so that what is read behind a body is seen, too;
# and a report goes past pytest, which would keep it for a test that never ends.
sanitize: $(READY)
	copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && cp -r bulk_export tests docs pyproject.toml "$$copy" && \
	rm -f "$$copy"/$(DECODE)/kernel/_kernel.* && \
	gcc $(SANITIZERS) -fPIC -shared -o "$$copy/$(DECODE)/kernel/_kernel.so" $(DECODE)/kernel/kernel.c && \
	python="$$PWD/$(BIN)/python" asan=$$(gcc -print-file-name=libasan.so) && cd "$$copy" && \
	LD_PRELOAD="$$asan" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc \
	BULK_EXPORT_DECODER=compiled "$$python" -m pytest -p no:cacheprovider --capture sys --timeout 600 \
	  tests/unit/transform/decode

# Arbitrary bytes for the compiled decoder, for FUZZ_SECONDS: 90, or some hours. What is found is kept in .fuzz/.
fuzz-kernel:
	mkdir -p .fuzz/inputs
	for one in vectors portable; do \
	  options= && if [ $$one = portable ]; then options=-DKERNEL_PORTABLE; fi && \
	  $(CLANG) $(SANITIZERS) $$options -fsanitize=fuzzer -o .fuzz/$$one tests/kernel/fuzz.c && \
	  .fuzz/$$one -max_total_time=$$(($(FUZZ_SECONDS) / 2)) -max_len=4096 -timeout=10 -print_final_stats=1 \
	    -verbosity=0 -artifact_prefix=.fuzz/ .fuzz/inputs tests/kernel/corpus || exit 1; \
	done

# A wheel for each platform and one for all others into dist/, from one machine. The compiler for that has 400 MB.
wheels: .venv-wheels/.ready
	.venv-wheels/bin/python .ci/wheels.py

.venv-wheels/.ready: .ci/wheels.txt
	$(PYTHON) -m venv .venv-wheels
	.venv-wheels/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# The documents as a site in dist/site; a broken link or anchor, or anything loaded from elsewhere, is an error.
# With --quiet, mkdocs would not count its warnings, and --strict would be nothing.
docs: $(READY)
	$(BIN)/python -m mkdocs build --strict --clean
	@echo dist/site/index.html

# An image for containers into dist/, without a registry. Needs buildah and mmdebstrap.
container:
	.ci/container

torture: $(READY)
	$(BIN)/python -m pytest -m torture --timeout 3600 --numprocesses 4 --dist worksteal

fuzz: $(READY)
	$(BIN)/python -m pytest -m fuzz --timeout 7200

# The manual page and the completions, which a wheel installs and `make test` compares with today's options.
man: $(READY)
	mkdir -p $(dir $(SHARED))
	$(BIN)/bulk-export man > share/man/man1/bulk-export.1
	$(BIN)/bulk-export completion bash > share/bash-completion/completions/bulk-export
	$(BIN)/bulk-export completion zsh > share/zsh/site-functions/_bulk-export
	$(BIN)/bulk-export completion fish > share/fish/vendor_completions.d/bulk-export.fish

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What only Unix has is an error in the second run.
types: $(READY)
	$(BIN)/mypy
	$(BIN)/mypy tests/typing/calls.py
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/windows

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
lock: $(READY) .venv-plots/.ready .venv-integrations/.ready
	for one in $(VENV) .venv-plots .venv-integrations; do $$one/bin/python -m pip list --format=freeze --exclude-editable; done \
	  | grep -viE '^(pip|setuptools|wheel)==' | sort --ignore-case --unique > constraints.txt

clean:
	rm -rf $(VENV) .venv-plots .venv-integrations .venv-snowflake .venv-sail .venv-wheels .venv-airflow .venv-moto .azurite $(PEERS:%=.venv-%) .fuzz dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
