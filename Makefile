# The recipes of this project. `make help` lists them.

CARGO ?= cargo
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)
ZMQ := $(shell pkg-config --exists libzmq 2>/dev/null && echo yes)
DENY := $(shell $(CARGO) deny --version >/dev/null 2>&1 && echo yes)

# Programs are built with the features that the tests of the workspace need of their dependencies, so that
# nothing is built twice: `--examples`, of which there are none, counts as a test.
TARGET := $(or $(CARGO_TARGET_DIR),target)
PROGRAM := $(CARGO) build -q --workspace --examples --bin
# The same for what is tried in optimised code.
OPTIMISED := -q --profile model -p paddington -p paddington-models -p paddington-sim -p paddington-soak
TRIAL := $(CARGO) build $(OPTIMISED) --examples --bin
MODELS := $(TARGET)/model/paddington-models
# The command that is tried: its last build, unless another one is named.
COMMAND := $(or $(PADDINGTON_BIN),$(TARGET)/debug/paddington)

.PHONY: build help check fmt clippy test test-portable secrets doctest doc examples interop formal operate api-examples deploy cluster page bench-smoke soak-smoke models-smoke mutants sim-smoke locks package deny
.PHONY: demo bench bench-full bench-cluster bench-compare instructions instructions-record soak soak-control fuzz models sim

build: ## Build everything (the default)
	$(CARGO) build --workspace

help: ## List the recipes
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# `make check` can do two things at the same time (ROWS=2): what keeps processors busy, and what mostly waits for time
# to pass. In each row, one target comes after the other. What a target prints is shown when it has ended.
ROWS ?= 1
BUSY := fmt clippy test test-portable doctest doc bench-smoke models-smoke sim-smoke mutants instructions locks package deny
WAITING := soak-smoke examples interop operate api-examples deploy cluster page

check: ## Run everything that CI checks
	@$(MAKE) --no-print-directory -j $(ROWS) --output-sync=target IN_ROWS=yes ROWS=$(ROWS) $(BUSY) $(WAITING)
	@echo "all checks passed"

ifdef IN_ROWS
SHELL := .ci/timed
row = $(if $(word 2,$(1)),$(eval $(word 2,$(1)): | $(word 1,$(1)))$(call row,$(wordlist 2,$(words $(1)),$(1))))
$(call row,$(BUSY))
$(call row,$(WAITING))
# What keeps processors busy leaves them to what waits for time to pass, whose times then hold.
$(BUSY): export LOWER := $(if $(filter-out 1,$(ROWS)),nice -n 10)
# Part of `test`, and built with what the soak trials have built.
secrets: | clippy
endif

fmt: ## Check the formatting
	$(CARGO) fmt --all --check

clippy: ## Lint, with warnings as errors
	$(CARGO) clippy --workspace --all-targets -- -D warnings

test: secrets ## Run the tests
ifeq ($(NEXTEST),yes)
	$(CARGO) nextest run --workspace
else
	$(CARGO) test --workspace --lib --bins --tests
endif

secrets: ## Look for secrets in memory that are done with, in optimised code
	$(CARGO) test $(OPTIMISED) --test secrets_are_gone -- --ignored

test-portable: ## Run the tests of the ciphers without their fast path
	$(CARGO) check -q -p paddington --no-default-features --features portable
	$(CARGO) test -q -p paddington-crypto -p paddington-wire --no-default-features --features portable --lib --tests

doctest: ## Run the examples in the documentation
	$(CARGO) test --workspace --doc

doc: ## Build the documentation, with warnings as errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

examples: ## Run the examples end to end
	$(PROGRAM) example-echo --bin example-outbox --bin example-partner --bin example-cluster
	$(TARGET)/debug/example-echo demo --count 100
	$(TARGET)/debug/example-echo demo --count 100 --encoding hex
	$(TARGET)/debug/example-outbox demo --count 300
	$(TARGET)/debug/example-partner demo
	$(TARGET)/debug/example-cluster demo

interop: ## Check the second implementation, in Python, against ours
	$(PROGRAM) example-echo
	trials/interop/python/run $(TARGET)/debug/example-echo

operate: ## Carry out every command of docs/operate.md, on two hosts
	$(PROGRAM) paddington
	trials/operate/run $(TARGET)/debug/paddington

deploy: ## Check the files in deploy, as far as this machine can
	$(if $(PADDINGTON_BIN),,$(PROGRAM) paddington --bin example-cluster)
	trials/deploy/systemd $(COMMAND)
	trials/deploy/kubernetes $(COMMAND)
	trials/deploy/replicas $(COMMAND)
	trials/deploy/proxies $(COMMAND)
	trials/deploy/debian $(COMMAND)

cluster: ## Update replicas one after another, behind nginx and HAProxy, where they and PostgreSQL are installed
	$(PROGRAM) example-cluster
	trials/cluster/run $(TARGET)/debug/example-cluster

page: ## Test the status page in Chromium, where that and Node are installed
	$(if $(PADDINGTON_BIN),,$(PROGRAM) paddington)
	# A browser's times are its own: what fails is tried once more.
	trials/page/run || trials/page/run
	PADDINGTON_BIN=$(abspath $(COMMAND)) trials/page/real

api-examples: ## Run the examples of the local API, in each language that is here
	$(if $(PADDINGTON_BIN),,$(PROGRAM) paddington)
	PADDINGTON_BIN=$(abspath $(COMMAND)) trials/api/run

formal: ## Prove the handshake, where ProVerif is installed, and look for attacks on it, where Verifpal is
	@trials/formal/run
	@trials/formal/search

bench-smoke: ## Run every benchmark once, for its correctness
	$(CARGO) test -q --workspace --bench '*'

soak-smoke: ## Run every soak trial once, in seconds
	$(TRIAL) paddington-soak
	$(TARGET)/model/paddington-soak --short all

models-smoke: ## Explore small models of the exchange, with short random walks and attacks
	$(TRIAL) paddington-models
	$(MODELS) check
	$(MODELS) replicas
	$(MODELS) walk
	$(MODELS) attack

sim-smoke: ## Run the first simulations, in seconds
	$(TRIAL) paddington-sim
	$(TARGET)/model/paddington-sim --seeds 20

locks: ## Check that the lock files outside the workspace are those of its present dependencies
	$(CARGO) update -q --workspace --locked --manifest-path trials/fuzz/Cargo.toml
	$(CARGO) update -q --workspace --locked --manifest-path benches/compare/Cargo.toml

# Crates of the registry: those of this folder.
PUBLISHED := -p paddington-link $(shell sed -n 's/^name = "\(paddington-[a-z-]*\)"/-p \1/p' crates/*/Cargo.toml)

package: ## Pack each crate as the registry wants it, in target/package
	target=$$PWD/target && cd "$$(.ci/published)" && \
		$(CARGO) package -q --offline --allow-dirty --no-verify --target-dir $$target $(PUBLISHED)
	@echo "packed: $(filter-out -p,$(PUBLISHED))"

deny: ## Check licences, sources, layers and known vulnerabilities, where cargo-deny is installed
ifeq ($(DENY),yes)
	$(CARGO) deny --all-features check bans licenses sources
	@if $(CARGO) deny fetch db >/dev/null 2>&1; then $(CARGO) deny --all-features check advisories; \
		else echo "the database of advisories cannot be had: known vulnerabilities are not checked"; fi
else
	@echo "cargo-deny is not installed: licences, layers and known vulnerabilities are not checked"
endif

models: ## Explore the models in their long form, which takes an hour
	$(TRIAL) paddington-models
	$(MODELS) check --long
	$(MODELS) replicas --long
	$(MODELS) walk --long
	$(MODELS) attack --long

mutants: ## Break one delivery rule at a time, and check that the models, or the simulation, notice
	$(TRIAL) paddington-models --bin paddington-sim --features paddington-models/faults,paddington-sim/faults
	$(MODELS) mutants
	$(TARGET)/model/paddington-sim --mutants

demo: ## Run the countdown as two processes, their logs side by side
	$(PROGRAM) example-echo
	$(TARGET)/debug/example-echo demo

bench: bench-compare ## Run the benchmarks and the short form of the load harness
	$(CARGO) bench -p paddington-bench --benches
	$(CARGO) run -q --release -p paddington-bench -- all --short

bench-full: bench-compare ## Run the benchmarks and the full form, which takes two to three hours
	$(CARGO) bench -p paddington-bench --benches
	$(CARGO) run -q --release -p paddington-bench -- all --full

bench-cluster: ## Run the benchmarks of replicas, where PostgreSQL is installed
	$(CARGO) run -q --release -p paddington-bench -- cluster --full

# The systems that paddington is compared with, beyond those in the workspace. ZeroMQ needs libzmq.
COMPARE ?= commonware grpc iroh nats $(if $(ZMQ),zeromq)
COMPARE_BUILD := $(CARGO) build --release --manifest-path benches/compare/Cargo.toml --target-dir target \
	--no-default-features --features

bench-compare: locks ## Build the comparisons in COMPARE: NATS, gRPC, iroh, commonware-p2p and, with libzmq, ZeroMQ
ifneq ($(ZMQ),yes)
	@echo "libzmq is not installed (Debian: libzmq3-dev): no comparison with ZeroMQ"
endif
	-$(COMPARE_BUILD) "$(COMPARE)" || { echo "building again without iroh and commonware-p2p"; \
		$(COMPARE_BUILD) "$(filter grpc nats zeromq,$(COMPARE))"; }

instructions: ## Count instructions, where valgrind is installed, and compare them with the record
	$(CARGO) run -q --release -p paddington-instructions -- benches/instructions.toml

instructions-record: ## Record the instruction counts again
	$(CARGO) run -q --release -p paddington-instructions -- --write benches/instructions.toml

# Number of runs of each trial, and the seed of the first run; each run adds one.
RUNS ?= 3
SEED ?= 1

soak: ## Run every soak trial RUNS times, forty minutes per run, with seeds from SEED on
	$(CARGO) build -q --release -p paddington-soak
	for run in $$(seq 0 $$(($(RUNS) - 1))); do \
		$(CARGO) run -q --release -p paddington-soak -- --seed $$(($(SEED) + run)) all || exit 1; \
	done

soak-control: ## Leave out one rule of replicas at a time, and check that the soak trial sees it
	$(TRIAL) paddington-soak
	$(TARGET)/model/paddington-soak replicas-control

# Number of simulations, and the first seed.
SEEDS ?= 200
FIRST ?= 1

sim: ## Run SEEDS simulations from seed FIRST on, with debug assertions
	$(TRIAL) paddington-sim
	$(TARGET)/model/paddington-sim --seeds $(SEEDS) --first $(FIRST)

# Time for each target. New inputs are kept out of the corpus, which is in the repository and is
# replayed by the tests.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(patsubst trials/fuzz/fuzz_targets/%.rs,%,$(wildcard trials/fuzz/fuzz_targets/*.rs))
FUZZ_FOUND := trials/fuzz/target/found

fuzz: locks ## Fuzz every parser for FUZZ_SECONDS each; needs a nightly toolchain and cargo-fuzz
	@$(CARGO) +nightly --version >/dev/null 2>&1 || \
		{ echo "no nightly toolchain: rustup toolchain install nightly --profile minimal"; exit 1; }
	@$(CARGO) fuzz --version >/dev/null 2>&1 || \
		{ echo "cargo-fuzz is not installed: cargo install --locked cargo-fuzz"; exit 1; }
	for target in $(FUZZ_TARGETS); do \
		mkdir -p $(FUZZ_FOUND)/$$target && \
		$(CARGO) +nightly fuzz run --fuzz-dir trials/fuzz $$target $(FUZZ_FOUND)/$$target trials/fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -malloc_limit_mb=64 -print_final_stats=1 || exit 1; \
	done
