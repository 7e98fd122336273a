# Two commands do everything on a fresh machine: `make demo` runs the product, `make test` installs what the tests need and runs them.
CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

# The load rig is a workspace of its own and shares the target directory.
TARGET = $(or $(CARGO_TARGET_DIR),target)
RIG = --manifest-path benches/rig/Cargo.toml --target-dir $(TARGET)

.PHONY: demo test lint bench instructions reference fuzz accept setup

# The whole product on loopback. Needs the Rust toolchain and a C compiler, nothing else.
demo:
	$(CARGO) run --release --locked -- demo

# What CI runs. A test counts instructions of `path`; built there, it would keep the cores from the other tests.
test: setup lint
	$(CARGO) build --release --locked --bench path
	$(CARGO) test --locked --lib --bins --tests
	$(CARGO) test --locked --doc
	$(CARGO) test --locked $(RIG)

# Programs that the tests drive, from distribution and language packages. Does nothing where they are there.
setup:
	tests/setup.sh

lint:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) fmt --check --manifest-path benches/rig/Cargo.toml
	$(CARGO) metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test accept -- -D warnings
	$(CARGO) clippy --locked $(RIG) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	$(CARGO) deny --locked check licenses bans sources
	$(CARGO) deny --locked --manifest-path benches/rig/Cargo.toml check licenses bans sources

# The release build beside bare relays and packaged peers: docs/performance.md and its chart. Some 25 minutes, as root, on a machine
# that does nothing else. What is not all of it (fewer than three ROUNDS, some SUBJECTS or SHAPES, `--quick`) is printed and leaves
# page and results alone: `make bench ROUNDS=1 SUBJECTS=floor-shared64k,sallyport-async SHAPES=connect BENCH=--anyway`.
ROUNDS ?= 3
PARTIAL = $(strip $(SUBJECTS) $(SHAPES) $(filter 0 1 2,$(ROUNDS)) $(findstring --quick,$(BENCH)))
AS_ROOT ?= $(shell [ "$$(id -u)" = 0 ] || echo sudo)
RESULTS = target/bench/$(if $(PARTIAL),partial,results).jsonl
COMPARE = $(AS_ROOT) $(TARGET)/release/rig compare --sallyport $(TARGET)/release/sallyport --rounds $(ROUNDS) \
	$(if $(SUBJECTS),--subjects $(SUBJECTS)) $(if $(SHAPES),--shapes $(SHAPES)) $(BENCH)
# What was typed, for the page.
typed = $(if $(filter-out file undefined,$(origin $1)),$1=$(if $(word 2,$($1)),'$($1)',$($1)))
TYPED = $(strip make bench $(foreach name,ROUNDS SUBJECTS SHAPES BENCH,$(call typed,$(name))))
bench:
	benches/setup.sh
	$(CARGO) build --release --locked $(RIG)
	$(COMPARE) --check
	$(CARGO) build --release --locked --target-dir $(TARGET)
	$(if $(PARTIAL),,$(CARGO) bench --locked --bench line --bench commit --bench relay)
	$(if $(PARTIAL),,$(CARGO) bench --locked --bench redaction -- --page docs/performance.md)
	$(AS_ROOT) rm -f $(RESULTS).new
	$(COMPARE) --out $(RESULTS).new --command "$(TYPED)" || [ $$? = 4 ]
	$(AS_ROOT) mv $(RESULTS).new $(RESULTS)
	$(TARGET)/release/rig report $(RESULTS) $(if $(PARTIAL),,--page docs/performance.md --chart docs/performance.svg)

# Counts the instructions of one request anew. The table is committed with the change that moved it.
instructions: setup
	$(CARGO) bench --locked --bench path -- count >target/instructions.txt
	mv target/instructions.txt benches/
	cat benches/instructions.txt

# Writes anew what the code says in docs/reference.md. What people say there, the last columns, stays.
reference:
	SALLYPORT_REFERENCE=write $(CARGO) test --locked --test all -- reference::what_the_code_says
	git diff --stat -- docs/reference.md

# Coverage-guided fuzzing of every parser, SECONDS each (nightly compiler features through RUSTC_BOOTSTRAP).
SECONDS ?= 60
fuzz:
	tests/fuzz.sh $(SECONDS)

# What takes longer than `make test` may.
accept: setup
	tests/accept/setup.sh
	$(CARGO) test --locked --release --test accept -- --nocapture --test-threads 1
