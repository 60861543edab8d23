# Every task of the project; CI uses the same targets. PYTHON names the interpreter that the environment is made with.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo serve test test-frameworks test-docker test-docker-long test-crash check format bench bench-clients bench-grpc bench-load \
	bench-selection bench-containers clean

help:  ## What can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(VENV)/.installed: pyproject.toml containers/pyproject.toml hatch_build.py $(shell find proto -name "*.proto")
	@$(PYTHON) -c 'import sys; sys.exit("Clipper needs Python 3.11 or newer, this is " + sys.version.split()[0] + \
		". Name another one: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing Clipper into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e containers -e '.[dev,sklearn]'
	@touch $@

demo: $(VENV)/.installed  ## The main job on real input: train, deploy, query, kill a replica, roll out
	@$(BIN)/python demo/demo.py && $(BIN)/python demo/selection.py

serve: $(VENV)/.installed  ## A server with the demo application, left running
	@$(BIN)/python demo/serve.py

test: $(VENV)/.installed  ## The test suite, on at most four cores
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

$(VENV)/.frameworks: $(VENV)/.installed
	@echo "installing the frameworks into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e containers -e '.[dev,frameworks]'
	@touch $@

test-frameworks: $(VENV)/.frameworks  ## Models of PyTorch, TensorFlow, ONNX and MLflow, for real; installs them
	@FRAMEWORKS_REQUIRED=1 $(BIN)/python -m pytest tests/flavors -m frameworks

test-docker: $(VENV)/.installed  ## Replicas in real containers; skipped with the reason where no Docker engine answers
	@$(BIN)/python -m pytest tests/docker -m docker -rs

test-docker-long: $(VENV)/.installed  ## The same, with a model that loads for a minute
	@CLIPPER_SLOW_LOAD_S=60 $(BIN)/python -m pytest tests/docker -m docker -rs

test-crash: $(VENV)/.installed  ## Kill the server a hundred times under concurrent feedback (takes some minutes)
	@CRASH_KILLS=100 $(BIN)/python -m pytest tests/server/test_server_crash.py -o log_cli=true

check: $(VENV)/.installed  ## Lint, format, types, import rules
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

format: $(VENV)/.installed  ## Format and fix what can be fixed
	@$(BIN)/ruff check --fix-only . ; $(BIN)/ruff format .

$(VENV)/.bench: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e containers -e '.[dev,sklearn,bench]'
	@touch $@

bench: $(VENV)/.bench  ## Throughput and latency beside the bare server and Mosec (needs wrk); batching policies
	@$(BIN)/python benchmarks/serving.py && $(BIN)/python benchmarks/batching.py

bench-grpc: $(VENV)/.installed  ## gRPC beside a bare grpc.aio server: unary calls and streams
	@$(BIN)/python benchmarks/grpc.py

bench-clients: $(VENV)/.installed  ## What a query costs by each road of the Python client
	@$(BIN)/python benchmarks/clients.py

bench-load: $(VENV)/.installed  ## What the load generator itself can do on one core
	@$(BIN)/python benchmarks/load_generator.py

bench-selection: $(VENV)/.installed  ## Policies, ensembles, users, stragglers; what choosing and feedback cost (needs wrk)
	@for benchmark in recovery ensembles contexts stragglers selection_cost feedback; do \
		$(BIN)/python benchmarks/$$benchmark.py || exit 1; done

bench-containers: $(VENV)/.installed  ## How replicas scale; what a Docker container costs (needs an engine)
	@$(BIN)/python benchmarks/scaling.py && $(BIN)/python benchmarks/docker_path.py

clean:  ## Remove what was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
