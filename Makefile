# Two commands do everything on a fresh machine: `make demo` runs the product, `make test` installs what the tests need and runs them.
CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

.PHONY: demo test lint bench fuzz accept setup

# The whole product on loopback. Needs the Rust toolchain and a C compiler, nothing else.
demo:
	$(CARGO) run --release --locked -- demo

# What CI runs.
test: setup lint
	$(CARGO) test --locked --lib --bins --tests
	$(CARGO) test --locked --doc

# Programs that the tests drive, from distribution and language packages. Does nothing where they are there.
setup:
	tests/setup.sh

lint:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test accept -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	$(CARGO) deny --locked check licenses bans sources

bench:
	$(CARGO) bench --locked --bench line

# Coverage-guided fuzzing of every parser, SECONDS each (nightly compiler features through RUSTC_BOOTSTRAP).
SECONDS ?= 60
fuzz:
	tests/fuzz.sh $(SECONDS)

# What takes longer than `make test` may.
accept: setup
	$(CARGO) test --locked --release --test accept
