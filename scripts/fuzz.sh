#!/usr/bin/env bash
# Fuzzes what reads stored bytes and other programs' files, with libFuzzer under AddressSanitizer. The bodies are in
# tests/fuzz/bodies.rs; the ordinary tests run them too, over the fixed corpus in tests/data/corpus (tests/corpus.rs).
#
#   scripts/fuzz.sh [--seconds N] [TARGET]...   all targets without an argument, 60 s each
#
# Targets: decode and roundtrip (codecs), tensors (files of the formats), blob (headers, manifests, trees), journal, pack
# (whole packs and index files), records (the catalog's values), control (lines on the socket), settings.
#
# Begins with the fixed corpus and with what earlier runs have found, which is kept in .cache/fuzz. Exit 1 after a crash,
# an input that takes more than 10 s, or 2 GiB of memory; the input is kept. Once that is mended, it goes into the corpus.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=lib/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"

FOUND=$REPO/.cache/fuzz
TARGETS=(decode roundtrip tensors blob journal pack records control settings)
SECONDS_EACH=60
# Longest input, in bytes: what is found must be small enough to be kept.
MAX_LEN=8192
FAILED=()

usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }

# Says what is missing and installs nothing.
need_tools() {
    need_rust
    cargo +nightly --version >/dev/null 2>&1 ||
        die "a nightly compiler is missing; install it with: rustup toolchain install nightly --profile minimal"
    cargo fuzz --version >/dev/null 2>&1 ||
        die "cargo-fuzz is missing; install it with: cargo install --locked cargo-fuzz"
    command -v c++ >/dev/null || die "a C++ compiler is missing; install it with: apt-get install g++"
}

# The fixtures of the formats as inputs: name 0, format as recognised, then the file.
add_fixtures() {
    local file
    for file in "$REPO"/tests/data/formats/*; do
        { printf '\0\0' && cat "$file"; } >"$FOUND/tensors/$(basename "$file")"
    done
}

is_target() { [[ " ${TARGETS[*]} " == *" $1 "* ]]; }

# run TARGET: for SECONDS_EACH.
run() {
    mkdir -p "$FOUND/$1"
    [ "$1" != tensors ] || add_fixtures
    cargo +nightly fuzz run --fuzz-dir tests/fuzz "$1" "$FOUND/$1" "tests/data/corpus/$1" -- \
        -max_total_time="$SECONDS_EACH" -max_len="$MAX_LEN" -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="$FOUND/$1-failed-" -print_final_stats=1 -print_funcs=0
}

CHOSEN=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage && exit ;;
    --seconds)
        SECONDS_EACH=${2:-}
        case $SECONDS_EACH in
        *[!0-9]* | '' | 0) die "'$SECONDS_EACH' is not a number of seconds" ;;
        esac
        shift
        ;;
    *)
        is_target "$1" || die "'$1' is neither an option nor one of: ${TARGETS[*]}"
        CHOSEN+=("$1")
        ;;
    esac
    shift
done
[ ${#CHOSEN[@]} -gt 0 ] || CHOSEN=("${TARGETS[@]}")
need_tools
cd "$REPO"
mkdir -p "$FOUND"
say "building"
cargo +nightly fuzz build --fuzz-dir tests/fuzz
for target in "${CHOSEN[@]}"; do
    say "fuzz: $target for $SECONDS_EACH s"
    run "$target" || FAILED+=("$target")
done
[ ${#FAILED[@]} = 0 ] || die "failed: ${FAILED[*]}; the inputs are in $FOUND"
say "no failure in ${#CHOSEN[@]} targets"
