#!/usr/bin/env bash
# Cuts the power below a store and looks at what is there. A filesystem lies on a disk that notes every write and every
# flush; a store in it is saved to, sealed, versioned, reclaimed, killed and unmounted. Then the disk is made again as it
# was at many places of the notes, started up, and compared with what had been answered until then.
#
#   sudo scripts/powercut.sh [CUTS] [ext4|xfs|btrfs]...  100 cuts on ext4 and on xfs without an argument, about 12 minutes
#   sudo scripts/powercut.sh --calibrate                 the script must pass plain ext4, and must find what is wrong with
#                                                        a workload and with a daemon that sync nothing
#
# Each cut is made twice: `prefix`, the disk holds all that was written before it, and `torn`, of what was written after
# the last flush some is lost, or there in some sectors only. SEED=n repeats the choices of a run. A quick disk helps:
# CKPTFS_TEST_DIR=/dev/shm. The rules are in scripts/python/powercut_rules.py. Exit 1 after a violation; what it takes to
# look at it is kept.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/disk.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/disk.sh"

SEED=${SEED:-$RANDOM}
# Cuts of one recording; then another one, with other choices.
CUTS_EACH=25
KINDS=()
CUTS=
CALIBRATE=no

# power NAME CUTS OPTION...: one recording and its cuts, in a folder of its own that stays after a failure.
power() {
    local folder=$WORK/$1 cuts=$2 seconds=6
    shift 2
    # Few cuts need no long recording.
    [ "$cuts" -gt 10 ] || seconds=3
    mkdir "$folder"
    timeout --kill-after=10 $((cuts * 60 + 180)) \
        python3 "$REPO/scripts/python/powercut.py" "$folder" --disk "$DISK" --cuts "$cuts" --seconds "$seconds" "$@" || return 1
    rm -r "$folder"
}

cut_kind() {
    local kind=$1 left=$CUTS round=0 cuts
    while [ "$left" -gt 0 ]; do
        cuts=$((left < CUTS_EACH ? left : CUTS_EACH))
        power "$kind-$round" "$cuts" --kind "$kind" --binary "$CKPTFS" --seed $((SEED + round)) ||
            die "$kind does not keep what was promised (seed $((SEED + round)))"
        left=$((left - cuts)) round=$((round + 1))
    done
}

# wrong NAME OPTION...: violations must be found, and not another failure.
wrong() {
    local name=$1 out=$WORK/$1.out
    shift
    ! power "$name" 4 --kind ext4 --seed "$SEED" "$@" >"$out" 2>&1 || die "$name was not found out"
    grep -q "torn: 4 cuts, [1-4] with violations" "$out" || {
        cat "$out"
        die "$name ended otherwise than with violations"
    }
    say "$name: found out, $(grep -c VIOLATION "$out") lines"
    rm -rf "${WORK:?}/$name"
}

calibrate() {
    need_packages eatmydata
    power plain 10 --kind ext4 --seed "$SEED" || die "plain ext4 failed: the script is wrong"
    wrong workload-without-fsync --lie
    wrong daemon-without-fsync --binary "$CKPTFS" --daemon-wrapper eatmydata
}

for word in "$@"; do
    case $word in
    -h | --help) usage && exit ;;
    --calibrate) CALIBRATE=yes ;;
    ext4 | xfs | btrfs) KINDS+=("$word") ;;
    *[!0-9]* | '' | 0) die "'$word' is neither a number of cuts nor one of: ext4, xfs, btrfs, --calibrate" ;;
    *) CUTS=$word ;;
    esac
done
CUTS=${CUTS:-100}
[ ${#KINDS[@]} -gt 0 ] || KINDS=(ext4 xfs)
[ "$TARGET" = ckptfs ] || die "TARGET is '$TARGET'; only ckptfs is cut, --calibrate does the rest"
need_root "$0"
need_disks "${KINDS[@]}"
testbed_start powercut
need_free "$WORK" 3
if [ "$CALIBRATE" = yes ]; then
    say "powercut: calibrating, seed $SEED"
    calibrate
else
    say "powercut: $CUTS cuts, prefix and torn, on ${KINDS[*]}, seed $SEED"
    for kind in "${KINDS[@]}"; do cut_kind "$kind"; done
fi
