# make setup | demo | test | test-all | test-gpu | bench | calibrations | lint | lock
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test test-all test-gpu bench calibrations lint lock clean
setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: setup
	mkdir -p demo-output
	$(BIN)/boltzspike sample examples/digits-rbm.json --clamp label-0=1 --duration 20s \
	  -o demo-output/zeros.nc --report demo-output/report.html --force
	$(BIN)/python examples/digits.py -o demo-output
	$(BIN)/boltzspike sample examples/asia.bif --evidence dysp=yes,xray=no --duration 10s --chains 32 \
	  --report demo-output/asia.html --force
	@echo "demo: the picture is demo-output/digits.png, the table demo-output/digits.csv"
	@echo "demo: the reports of the first and the last run are demo-output/report.html and demo-output/asia.html"

test: setup lint
	$(BIN)/python -m pytest -n 2 -m "not slow and not gpu"

test-all: setup lint
	$(BIN)/python -m pytest -n 2

# on a machine with an NVIDIA GPU; elsewhere each test fails and says why
test-gpu: setup
	$(BIN)/python -m pytest -m gpu

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python benchmarks/engines.py --quick

# what ships for the presets: their calibrations with the learned translation rule
calibrations: setup
	for preset in S1 S2 S5a dodo; do \
	  $(BIN)/boltzspike calibrate --neuron $$preset --network \
	    -o src/boltzspike/calibrations/$$preset.json --force || exit 1; \
	done

lock: setup
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --quiet --output-file requirements.lock

clean:
	rm -rf .venv build dist demo-output
