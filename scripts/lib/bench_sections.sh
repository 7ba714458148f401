# shellcheck shell=bash
# scripts/bench.sh save, training, sealing, restore, names: what each needs, and its start. Sourced, never run.

# shellcheck disable=SC2034  # bench.sh goes through them
SECTIONS=(save training sealing restore names)

# GiB of disk that a section needs, and GiB of memory; with --quick 3 of each do.
disk_of() { case $1 in save) echo 16 ;; restore) echo 14 ;; *) echo 8 ;; esac; }
memory_of() { case $1 in save | restore) echo 12 ;; *) echo 6 ;; esac; }

need_memory() {
    local total_kib
    total_kib=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
    [ "$total_kib" -ge $(($1 * 1024 * 1024)) ] ||
        die "$((total_kib / 1024 / 1024)) GiB of memory are free and this needs $1 GiB; end what takes it, or use --quick"
}

# bench_section NAME [--quick] [--rounds N] [--only WORDS]: a table on standard output, and .cache/bench/NAME.json.
bench_section() {
    local section=$1 options=() gib memory name program=$CKPTFS
    shift
    need_root "$0"
    need bindfs bindfs
    need git git
    # shellcheck source-path=SCRIPTDIR source=setup.sh
    . "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
    CKPTFS=$program
    need_python test
    testbed_start bench
    name=$section gib=$(disk_of "$section") memory=$(memory_of "$section")
    while [ $# -gt 0 ]; do
        case $1 in
        --quick) options+=(--quick) gib=3 memory=3 ;;
        --rounds) options+=(--rounds "${2:?--rounds needs a number}") && shift ;;
        --only)
            options+=(--only "${2:?--only needs words of the rows}")
            name=$section-${2//[^[:alnum:]]/-}
            shift
            ;;
        *) die "unknown argument '$1'" ;;
        esac
        shift
    done
    need_free "$WORK" "$gib"
    need_memory "$memory"
    mkdir -p "$REPO/.cache/bench"
    "$PYTHON" "$REPO/scripts/python/bench_$section.py" "$WORK" --binary "$CKPTFS" \
        --json "$REPO/.cache/bench/$name.json" "${options[@]}"
}
