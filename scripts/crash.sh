#!/usr/bin/env bash
# Kills the daemon with SIGKILL at random moments under writes, renames and sealing, mounts again, and checks every
# operation that had been answered; then the same under saves over saves, looking for each one in the history. One store
# for all rounds. The rules are in scripts/python/crash_model.py and history_crash.py.
#
#   sudo scripts/crash.sh [ROUNDS]          200 rounds without an argument; SEED=n repeats a run's choices
#   sudo TARGET=bindfs scripts/crash.sh 20  calibrates: a daemon that keeps no state of its own must pass
#
# Exit 1 at the first violation; the store, the logs of the workloads and of the daemon are kept.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/testbed.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/testbed.sh"

SEED=${SEED:-$RANDOM}
ROUNDS=${1:-200}

case $ROUNDS in
-h | --help) usage && exit ;;
*[!0-9]* | '') die "'$ROUNDS' is not a number of rounds" ;;
esac
[ "$TARGET" != native ] || die "a native folder has no daemon to kill; TARGET must be ckptfs or bindfs"
need_root "$0"
testbed_start crash
need_free "$WORK" 4
say "crash: $ROUNDS rounds on $TARGET, seed $SEED"
# A bound on the whole: 1.5 s a round is usual, a hang in the kernel must not last for ever.
timeout --kill-after=10 $((ROUNDS * 6 + 300)) \
    python3 "$REPO/scripts/python/crash.py" "$WORK" --target "$TARGET" --binary "$CKPTFS" --rounds "$ROUNDS" --seed "$SEED"
if [ "$TARGET" = ckptfs ]; then
    say "history: $((ROUNDS / 3 + 1)) rounds, seed $SEED"
    timeout --kill-after=10 $((ROUNDS * 6 + 300)) python3 "$REPO/scripts/python/history_crash.py" "$WORK" \
        --binary "$CKPTFS" --rounds $((ROUNDS / 3 + 1)) --seed "$SEED"
fi
