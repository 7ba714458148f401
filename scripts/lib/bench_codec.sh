# shellcheck shell=bash
# scripts/bench.sh codec: makes the series, measures the codecs on them, then whole stores. Sourced, never run.

# bench_codec [--big] [DIR]: tables on standard output, and in .cache/bench/codec.md.
bench_codec() {
    local big=no series work
    # shellcheck source-path=SCRIPTDIR source=setup.sh
    . "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
    if [ "${1:-}" = --big ]; then big=yes && shift; fi
    series=${1:-$REPO/.cache/series}
    [ $# -le 1 ] || die "one folder of series, not '$*'"
    [ "$(id -u)" = 0 ] || die "$0 codec mounts with passthrough, which needs root; run it with sudo"
    need_fuse
    need_rust
    need_python test
    need_python bench
    mkdir -p "$series" "$REPO/.cache/bench"
    need_free "$REPO" 12
    say "making the series that are not in $series yet (about ten minutes, once)"
    "$PYTHON" "$REPO/scripts/python/series.py" "$series"
    if [ "$big" = yes ]; then "$PYTHON" "$REPO/scripts/python/series.py" "$series" dreamzero; fi
    build_program
    (cd "$REPO" && cargo bench --locked --bench codec --no-run)
    work=$(mktemp -d "${CKPTFS_TEST_DIR:-$REPO/.cache}/stores.XXXXXX")
    {
        # One core, the first of those that are allowed here, also for what it starts.
        (cd "$REPO" && PYTHON=$PYTHON taskset -c "$(first_core)" cargo bench --locked --bench codec -- "$series")
        "$PYTHON" "$REPO/scripts/python/store_bench.py" "$series" "$work" --binary "$CKPTFS" --json "$REPO/.cache/bench/stores.json"
    } | tee "$REPO/.cache/bench/codec.md"
    rm -r "$work"
}

first_core() { taskset -cp $$ | sed 's/.*: //; s/[,-].*//'; }
