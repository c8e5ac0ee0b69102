# Winnow. `make run` and `make test` do all set-up themselves; `make help` lists the rest.
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Definitions of other projects' Kubernetes resources, which tests/deploy checks ours against where they are there.
export WINNOW_TEST_CRDS ?= $(wildcard $(CURDIR)/../shared/schemas)

.DEFAULT_GOAL := help
.PHONY: bench-path bench-open-circuit audit check checkov clean contract e2e env-example format help images integration lock protos run sbom setup setup-dev setup-peers soak test try-environments try-images unit
.PHONY: bench bench-features bench-feedback bench-gpu bench-index bench-models bench-peers bench-quality bench-scale bench-serve bench-smoke

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

run: setup ## set up, train on MovieLens-100K and serve (Ctrl-C ends it)
	@$(BIN)/winnow demo

setup: ## the virtual environment with everything that running needs
	@deploy/setup.sh $(VENV) runtime

setup-dev: setup ## and everything that developing needs
	@deploy/setup.sh $(VENV) dev

test: setup-dev ## every test, real servers included
	$(PYTEST) tests

unit: setup-dev ## the tests of rules and components
	$(PYTEST) tests/unit tests/architecture

contract: setup-dev ## the tests that every adapter of a port passes
	$(PYTEST) tests/contract

integration: setup-dev ## the tests of one service with its real neighbours
	$(PYTEST) tests/integration

e2e: setup-dev ## the tests of the whole product
	$(PYTEST) tests/e2e

soak: setup-dev ## the long versions: 200 kills, thousands of generated cases
	WINNOW_SOAK=1 $(PYTEST) tests

check: setup-dev ## style, types, layers, protos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy shared services
	$(BIN)/lint-imports
	$(BIN)/python protos/generate.py --lint
	$(PYTEST) -q tests/architecture

images: ## build the images of all services with docker or buildah (TAG=0.1.0)
	@deploy/images.sh

try-images: setup-dev ## build two images on a stand-in base, run their manifests, call them (root, Debian)
	@tests/images/prepare.sh
	WINNOW_TEST_IMAGES=1 $(PYTEST) tests/images

try-environments: setup-dev ## install each service with its extra alone, and start it
	WINNOW_TEST_ENVIRONMENTS=1 $(PYTEST) tests/environments

checkov: setup-dev ## checkov over the manifests and the Dockerfile
	@deploy/checkov.sh $(BIN)

# Both in environments of their own, which uv makes. An audit that could not ask about a package fails.
audit: setup-dev ## known vulnerabilities of the locked dependencies (asks PyPI)
	$(BIN)/uv tool run --from pip-audit==2.10.1 pip-audit --strict --no-deps --disable-pip -r requirements.lock

sbom: setup-dev ## the locked dependencies as CycloneDX, into sbom.json
	$(BIN)/uv tool run --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements.lock \
		--pyproject pyproject.toml --output-reproducible --output-file sbom.json

format: setup-dev ## rewrite the sources in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

env-example: setup-dev ## write .env.example again
	$(BIN)/python -m services.command.environment > .env.example

protos: setup-dev ## generate the stubs again
	$(BIN)/python protos/generate.py

bench-smoke: setup-dev ## latency of `Recommend`, stage by stage, on one channel (after make run)
	$(BIN)/python -m tests.benchmarks.smoke

bench-path: setup-dev ## `Recommend` under open load at 50, 200, 600 and 50 requests a second, and flame graphs of the first (after make run)
	$(BIN)/python -m tests.benchmarks.path_bench --flames build/flames

bench-open-circuit: setup-dev ## `Recommend` while a service behind it is away, against a normal day (after make run)
	$(BIN)/python -m tests.benchmarks.open_circuit

bench-features: setup-dev ## replay rate, visibility and reads of the feature service, on SQLite and Redis
	$(BIN)/python -m tests.benchmarks.feature_bench

bench-feedback: setup-dev ## the event log beside what SQLite, Kafka and Redis take alone, its memory over a million events (4 minutes)
	$(BIN)/python -m tests.benchmarks.feedback_bench

bench-quality: setup-dev ## NDCG@10 against latency, by the number of candidates that are ranked (after make run)
	$(BIN)/python -m tests.benchmarks.quality_bench

bench-scale: setup-dev ## memory and time of a training on ten million synthetic interactions (half an hour and more)
	$(BIN)/python -m tests.benchmarks.scale_bench

bench-index: setup-dev setup-peers ## Annoy against exact search, hnswlib and faiss, up to 1,000,000 items
	$(BIN)/python -m tests.benchmarks.index_bench

bench-serve: setup-dev ## the Serve path against Ray Serve's default proxy and plain grpc.aio (after make run)
	$(BIN)/python -m tests.benchmarks.serve_bench

bench-peers: setup-dev setup-peers ## the same ranker behind BentoML, LitServe and default Ray Serve (after make run)
	$(BIN)/python -m tests.benchmarks.peers_bench

bench-models: setup-dev setup-peers ## quality against time: Winnow, RecTools and the baselines on one split (15 to 25 minutes)
	$(BIN)/python -m tests.benchmarks.models_bench --rectools sasrec --rectools ligr --cap 500

bench-gpu: setup-dev ## the ranker's network alone, on a GPU where there is one
	$(BIN)/python -m tests.benchmarks.gpu_bench

BENCHES := $(shell sed -n 's/^\(bench-[a-z-]*\):.*/\1/p' $(MAKEFILE_LIST))
bench: setup-dev ## every benchmark, one after the other (after make run)
	@for each in $(BENCHES); do printf '\n=== %s\n' $$each; $(MAKE) --no-print-directory $$each || exit; done

setup-peers: setup ## the environment of the programs that benchmarks compare Winnow with
	@tests/benchmarks/peers/setup.sh $(BIN)/python .venv-peers

# One lock for Python 3.11 to 3.13. torch and what only its CUDA builds need are left out: deploy/setup.sh installs them.
LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet \
	--no-emit-index-url --no-emit-package torch
WITHOUT_CUDA := awk '/^[a-z0-9]/ {keep = !/^(nvidia-|cuda-|triton=)/} keep'

lock: setup-dev ## resolve the dependencies again
	$(LOCK) pyproject.toml --extra all | $(WITHOUT_CUDA) > requirements.lock.new
	mv requirements.lock.new requirements.lock
	$(LOCK) pyproject.toml --extra all --extra dev --constraint requirements.lock | $(WITHOUT_CUDA) > requirements-dev.lock.new
	mv requirements-dev.lock.new requirements-dev.lock

clean: ## remove the environments and what tools left (data in .winnow stays)
	rm -rf $(VENV) .venv-peers build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
