#!/bin/bash
# Fuzzes each target for SECONDS_EACH on stable Rust. What reaches new code stays in target/fuzz/corpus for the next run;
# what is worth keeping for everybody goes to tests/fuzz/corpus by hand. A finding is written to target/fuzz/findings and
# ends the run.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
each=${SECONDS_EACH:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
command -v c++ >/dev/null || { echo "make fuzz needs a C++ compiler for libFuzzer (Debian: g++)" >&2; exit 1; }
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target/fuzz}
# What cargo-fuzz passes, less the sanitizers, which need a nightly compiler. With --target it stays out of build scripts.
export RUSTFLAGS="-Cpasses=sancov-module -Ccodegen-units=1 --cfg fuzzing \
  -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# Not locked: the crates of the other workspace change beneath this one.
cargo build --quiet --release --target "$host"
fuzzer=$CARGO_TARGET_DIR/$host/release/adit-fuzz
findings=$CARGO_TARGET_DIR/findings
mkdir -p "$findings"
for folder in corpus/${TARGET:-*}; do
  target=$(basename "$folder")
  found=$CARGO_TARGET_DIR/corpus/$target
  mkdir -p "$found"
  echo "fuzz $target for ${each} s"
  ADIT_FUZZ_TARGET=$target "$fuzzer" "$found" "$folder" -max_total_time="$each" -max_len=4096 -timeout=20 \
    -rss_limit_mb=2048 -artifact_prefix="$findings/$target-" -print_final_stats=1 -verbosity=0 2>&1 |
    grep -E 'stat::number_of_executed_units|panicked|ERROR|Test unit' -A1 || true
  if ls "$findings/$target-"* >/dev/null 2>&1; then
    echo "$target fails; see $findings" >&2
    exit 1
  fi
done
