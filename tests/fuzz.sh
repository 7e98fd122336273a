#!/usr/bin/env bash
# Fuzzes every parser for SECONDS each and fails on the first crash, whose input cargo-fuzz names and keeps in fuzz/artifacts.
# Installs cargo-fuzz if it is missing. The sanitizers are compiler features that stable hides: RUSTC_BOOTSTRAP shows them.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?usage: tests/fuzz.sh SECONDS}

command -v cargo-fuzz >/dev/null || cargo install --locked --quiet cargo-fuzz@0.13.2
export RUSTC_BOOTSTRAP=1
cargo fuzz build

# Longer than the longest hello (16 KiB), so that the bound is tried too.
longest=20480
for target in $(cargo fuzz list); do
    echo "fuzzing $target for $seconds s"
    mkdir -p "fuzz/corpus/$target" "fuzz/seeds/$target"
    cargo fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len=$longest -timeout=10 -verbosity=0 -print_final_stats=1
done
