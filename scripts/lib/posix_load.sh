# shellcheck shell=bash
# Loads that others wrote, each with its own verification: stress-ng, fio, dbench, bonnie++, fs_mark. Sourced by
# scripts/posix.sh; it has the testbed.
#
# A stage passes when the program says so. After all of them the store is unmounted and every byte of it is checked.

LOAD_SECONDS=20
LOAD_MIB=256
# NAME STRESSOR...: those of a stage run at once, one process each.
LOAD_STRESSORS=(
    "names dentry dir dirdeep dirmany filename getdent link mknod rename symlink touch"
    "attributes access chdir chmod chown fsize fstat handle utime xattr"
    "locks flock lease locka lockf lockofd"
    "bytes aio copy-file hdd io iomix open revio seek sync-file"
    "ranges fallocate fiemap file-ioctl fpunch readahead sendfile splice"
    "mappings mmap mmapfork msync dnotify inotify"
)
# Those that would write a GiB.
LOAD_SIZED=(hdd-bytes iomix-bytes fallocate-bytes fiemap-bytes readahead-bytes revio-bytes sync-file-bytes mmap-bytes msync-bytes)
# NAME ENGINE PATTERN DIRECT
LOAD_FIO=("sequential psync write 0" "random psync randwrite 1" "mapped mmap randwrite 0" "aio libaio randrw 1" "ring io_uring randrw 0")

# load_stage MODE NAME COMMAND...: dies with the end of what the program said.
load_stage() {
    local mode=$1 name=$2 log=$WORK/load-$1-$2.txt
    shift 2
    timeout $((LOAD_SECONDS * 4 + 300)) "$@" >"$log" 2>&1 || {
        tail -n 20 "$log"
        die "load $name, passthrough $mode, seed $SEED: failed; all of it is in $log"
    }
    LOAD_STAGES=$((LOAD_STAGES + 1))
}

# load_stressors MODE NAME STRESSOR...
load_stressors() {
    local mode=$1 name=$2 stressor arguments=()
    shift 2
    for stressor in "$@"; do arguments+=("--$stressor" 1); done
    for stressor in "${LOAD_SIZED[@]}"; do arguments+=("--$stressor" "${LOAD_MIB}m"); done
    load_stage "$mode" "stress-ng-$name" stress-ng "${arguments[@]}" --verify --seed "$SEED" --timeout "$LOAD_SECONDS" \
        --temp-path "$MOUNT/load"
}

# load_fio MODE NAME ENGINE PATTERN DIRECT
load_fio() {
    load_stage "$1" "fio-$2" fio --name=load --directory="$MOUNT/load" --ioengine="$3" --rw="$4" --direct="$5" \
        --size="${LOAD_MIB}m" --bs=16k --iodepth=8 --numjobs=2 --verify=crc32c --verify_fatal=1 --randseed="$SEED" \
        --verify_state_save=0 # it would be written where the script was started
    rm -f "$MOUNT"/load/load.*
}

# run_load PASSTHROUGH
run_load() {
    local stage
    need stress-ng stress-ng && need fio fio && need dbench dbench && need bonnie++ bonnie++ && need fs_mark fsmark
    rm -rf "$STORE"
    mkdir "$STORE"
    testbed_mount "allow_other,settle=1s,passthrough=$1"
    passthrough_expected "$1"
    mkdir "$MOUNT/load"
    LOAD_STAGES=0
    # Words are what a stage is told.
    # shellcheck disable=SC2086
    {
        for stage in "${LOAD_STRESSORS[@]}"; do load_stressors "$1" $stage; done
        for stage in "${LOAD_FIO[@]}"; do load_fio "$1" $stage; done
    }
    load_stage "$1" dbench dbench -D "$MOUNT/load" -t "$LOAD_SECONDS" -c /usr/share/dbench/client.txt 4
    load_stage "$1" bonnie bonnie++ -d "$MOUNT/load" -s "${LOAD_MIB}m" -r $((LOAD_MIB / 2)) -n 2 -u root -q
    # It takes no path of more than 40 bytes.
    load_stage "$1" fs_mark env -C "$MOUNT/load" fs_mark -d . -n 500 -s 16384 -t 4 -L 2 -S 1
    # What a program asks for in vain is no fault of the mount's.
    [ "$TARGET" != ckptfs ] || "$CKPTFS" status --json "$MOUNT" | python3 -c '
import json, sys
status = json.load(sys.stdin)
sys.exit(0 if status["health"] == "ok" and not status["last_errors"] else f"the mount is not well: {status}")'
    testbed_unmount --wait
    [ "$TARGET" != ckptfs ] || "$CKPTFS" check --read-data "$STORE"
    say "load, passthrough $1: $LOAD_STAGES of $LOAD_STAGES stages verified, and the store is clean"
}
