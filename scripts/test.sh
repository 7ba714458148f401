#!/usr/bin/env bash
# Everything a change needs, under 20 minutes on 2 cores after the first install:
#
#   sudo ./scripts/test.sh [--all] [--no-install]
#
#   --all         the trainings of all writers, longer runs of the POSIX and crash tiers, the slow limits, what things cost, a minute of each
#                 fuzz target; containers in full; the Debian package on a system of its own
#   --no-install  says what is missing instead of installing it
#
# All tiers run, whatever fails before; the table at the end has each with its seconds. A tier that cannot run here
# (no /dev/fuse, not root, a package missing) is a failure that says the cure, never a skip.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"

ALL=no
LOGS=$REPO/.cache/test
NAMES=()
RESULTS=()
SECONDS_OF=()
FAILED=0

usage() { sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

# tier NAME FUNCTION: runs it, shows and keeps its output, notes result and seconds.
# The function runs in a shell of its own, so that its `die` and `set -e` end the tier and not the run.
tier() {
    local name=$1 began=$SECONDS result=ok
    step "$name"
    # pipefail: the status is the tier's. A plain call, because `set -e` is off inside a condition.
    set +e
    (
        set -euo pipefail
        cd "$REPO"
        "$2"
    ) </dev/null 2>&1 | tee "$LOGS/$name.log"
    [ "${PIPESTATUS[0]}" = 0 ] || result=FAILED
    set -e
    [ "$result" = ok ] || FAILED=$((FAILED + 1))
    NAMES+=("$name")
    RESULTS+=("$result")
    SECONDS_OF+=($((SECONDS - began)))
}

need_root() {
    [ "$(id -u)" = 0 ] ||
        die "this tier needs root ($1); run: sudo env \"PATH=\$PATH\" ./scripts/test.sh"
}

tier_setup() {
    need_rust
    need_packages gcc libc6-dev fuse3 bindfs attr acl e2fsprogs util-linux python3 python3-venv rsync git shellcheck chromium
    need_python test
}

tier_lint() {
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    shellcheck -x .ci/run scripts/*.sh scripts/lib/*.sh
}

tier_unit() { cargo test --locked --no-fail-fast; }

tier_build() { build_program; }

# With --all each writer is trained, killed in a save and resumed too (test_acceptance*).
tier_frameworks() {
    local work trainings=(--ignore-glob='*/test_acceptance*')
    [ "$ALL" = no ] || trainings=()
    need_fuse
    need_root "passthrough needs CAP_SYS_ADMIN"
    work=${CKPTFS_TEST_DIR:-$LOGS}
    mkdir -p "$work"
    work=$(mktemp -d "$work/frameworks.XXXXXX")
    CKPTFS_BIN=$CKPTFS "$PYTHON" -m pytest tests/frameworks "${trainings[@]}" --basetemp="$work/tests" --durations=5 ||
        die "a framework does not find what it has saved; the stores are kept in $work"
    rm -r "$work"
}

tier_browser() { scripts/browser.sh; }

tier_posix() {
    need_fuse
    need_root "pjdfstest switches users and makes devices"
    need_packages stress-ng fio dbench bonnie++ fsmark
    if [ "$ALL" = yes ]; then scripts/posix.sh; else scripts/posix.sh --quick; fi
}

tier_crash() {
    need_fuse
    need_root "passthrough needs CAP_SYS_ADMIN"
    if [ "$ALL" = yes ]; then scripts/crash.sh 200; else scripts/crash.sh 30; fi
    if [ "$ALL" = yes ]; then scripts/powercut.sh 20; else scripts/powercut.sh 5 ext4; fi
}

# What takes too long for every change: tests that are ignored by default.
tier_limits() {
    need_fuse
    need_root "limits are those of a real mount"
    cargo test --locked --test fuse -- --ignored limits::
}

# What saves, reads, names, history and the codec cost, in system calls, requests, bytes and instructions.
tier_costs() {
    need_fuse
    need_root "passthrough needs CAP_SYS_ADMIN"
    need_packages strace valgrind
    cargo test --locked --test costs -- --ignored
}

tier_fuzz() { scripts/fuzz.sh --seconds 60; }

# What a container may and may not do; with --all the image compiles the program, and the Rust tests run in it too.
tier_container() {
    need_fuse
    need_root "a container engine is started"
    local options=()
    [ "$ALL" = yes ] || options+=(--quick)
    [ "$INSTALL" = yes ] || options+=(--no-install)
    scripts/docker-test.sh "${options[@]}"
}

# The Debian package: installed, used, upgraded under a mounted store, removed, where systemd runs.
tier_package() {
    local options=(--test --prebuilt)
    [ "$INSTALL" = yes ] || options+=(--no-install)
    scripts/package.sh "${options[@]}"
}

summary() {
    local index
    step "summary"
    printf '%-12s %-8s %8s\n' tier result seconds
    for index in "${!NAMES[@]}"; do
        printf '%-12s %-8s %8d\n' "${NAMES[index]}" "${RESULTS[index]}" "${SECONDS_OF[index]}"
    done
    printf '%-12s %-8s %8d\n' total '' "$SECONDS"
    say "logs: $LOGS"
}

main() {
    local option
    for option in "$@"; do
        case $option in
        --all) ALL=yes ;;
        --no-install) INSTALL=no ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) die "unknown option $option; the use is: ./scripts/test.sh [--all] [--no-install]" ;;
        esac
    done
    export CKPTFS
    mkdir -p "$LOGS"
    tier setup tier_setup
    tier lint tier_lint
    tier unit tier_unit
    tier build tier_build
    tier frameworks tier_frameworks
    tier browser tier_browser
    tier posix tier_posix
    tier crash tier_crash
    tier container tier_container
    if [ "$ALL" = yes ]; then
        tier limits tier_limits
        tier costs tier_costs
        tier fuzz tier_fuzz
        tier package tier_package
    fi
    summary
    [ "$FAILED" = 0 ] || die "$FAILED of ${#NAMES[@]} tiers failed"
}

main "$@"
