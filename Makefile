# The recipes of this project. `make help` lists them.

CARGO ?= cargo
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)
MODELS := $(CARGO) run -q --profile model -p paddington-models --
DENY := $(shell $(CARGO) deny --version >/dev/null 2>&1 && echo yes)

.PHONY: build help check fmt clippy test test-orion doctest doc examples bench-smoke models-smoke deny
.PHONY: demo bench models mutants

build: ## Build everything (the default)
	$(CARGO) build --workspace

help: ## List the recipes
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

check: fmt clippy test test-orion doctest doc examples bench-smoke models-smoke mutants deny ## Everything that CI checks
	@echo "all checks passed"

fmt: ## Check the formatting
	$(CARGO) fmt --all --check

clippy: ## Lint, with warnings as errors
	$(CARGO) clippy --workspace --all-targets -- -D warnings

test: ## Run the tests
ifeq ($(NEXTEST),yes)
	$(CARGO) nextest run --workspace
else
	$(CARGO) test --workspace --lib --bins --tests
endif

test-orion: ## Run the tests of the ciphers without their fast path
	$(CARGO) test -q -p paddington-crypto -p paddington-wire --no-default-features --lib --tests

doctest: ## Run the examples in the documentation
	$(CARGO) test --workspace --doc

doc: ## Build the documentation, with warnings as errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

examples: ## Run the examples end to end
	$(CARGO) run -q -p example-echo -- demo --count 100
	$(CARGO) run -q -p example-echo -- demo --count 100 --encoding hex

bench-smoke: ## Run every benchmark once, for its correctness
	$(CARGO) test -q -p paddington-bench --benches

models-smoke: ## Explore small models of the exchange, walk a little, attack a little
	$(MODELS) check
	$(MODELS) walk
	$(MODELS) attack

deny: ## Check licences, duplicates, sources and layers, where cargo-deny is installed
ifeq ($(DENY),yes)
	$(CARGO) deny --all-features check bans licenses sources
else
	@echo "cargo-deny is not installed: licences and layers are not checked"
endif

models: ## Explore the models in their long form: a quarter of an hour
	$(MODELS) check --long
	$(MODELS) walk --long
	$(MODELS) attack --long

mutants: ## Break one rule of the exchange at a time: the models have to notice each
	RUSTFLAGS="--cfg paddington_faults" $(CARGO) run -q --profile model --target-dir target/faults \
		-p paddington-models -- mutants

demo: ## Run the countdown as two processes, their logs side by side
	$(CARGO) run -q -p example-echo -- demo

bench: ## Run the benchmarks
	$(CARGO) bench -p paddington-bench
