# The project's commands; README.md explains them. CI calls `make lint` and `make test`.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TOOLS := .cache/tools
BUF := $(TOOLS)/bin/buf
BUF_VERSION := 1.75.0
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help
help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: demo
demo: ## Build, fetch the model, start everything, ingest docs/, ask three questions, stop
	scripts/demo.sh

.PHONY: up
up: models ## Start everything and leave it running (Ctrl-C stops it)
	$(TARGET)/release/ragstone up

.PHONY: models
models: ## Fetch the embedding model (84 MB) into the user's cache directory
	cargo build --release --locked --package ragstone
	$(TARGET)/release/ragstone models pull

.PHONY: test
test: ## Run all tests
	scripts/test-tools.sh
	scripts/test-python.sh
	scripts/test-browser.sh
	cargo build --locked --workspace --all-targets
	$(TARGET)/debug/ragstone models pull
	$(TARGET)/debug/ragstone models pull smollm2-135m-instruct
	RAGSTONE_REQUIRE_MODEL=1 cargo test --locked --workspace

.PHONY: test-local-llm
test-local-llm: ## Test the language model in process: needs cmake, a C++ compiler, libclang; compiles llama.cpp (3 min)
	cargo run --locked --package ragstone -- models pull smollm2-135m-instruct
	RAGSTONE_REQUIRE_MODEL=1 cargo test --locked -p ragstone-models --features local-llm --lib llm::
	RAGSTONE_REQUIRE_MODEL=1 cargo test --locked -p ragstone-models --features local-llm --test local_llm
	RAGSTONE_REQUIRE_MODEL=1 cargo test --locked -p ragstone-generation --features local-llm --test local_llm

.PHONY: lint
lint: $(BUF) ## Check formatting, lints and protos
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	$(BUF) lint proto
	scripts/proto-breaking.sh $(BUF)

.PHONY: bench
bench: models ## Measure start-up, retrieval quality and answers (docs/performance.md)
	scripts/bench.sh

.PHONY: docs
docs: ## Renew the generated pages of docs/
	RAGSTONE_UPDATE_DOCS=1 cargo test --locked --package ragstone-tests --test docs

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

$(BUF):
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check buf-bin==$(BUF_VERSION)
