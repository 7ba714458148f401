# shellcheck shell=sh
# Runs in the container, as /bin/sh with coreutils only: docker-test.sh sends it to the shell's standard input.
# Arguments: STORE PASSTHROUGH STEP. STEP `save` fills an empty store and leaves it sealed; STEP `verify`, in a later
# container on the same store, must find the same bytes. The checksums lie beside the store, never in it.
set -eu
store=$1 passthrough=$2 step=$3
mnt=/mnt/checkpoints
sums=$store.sha256
run=$mnt/run-1

fail() {
    echo "in the container: $*" >&2
    exit 1
}

mounted() {
    ckptfs mount "$store" "$mnt" -o "allow_other,settle=100ms,hot_cache=0,passthrough=$passthrough"
    mountpoint -q "$mnt" || fail "mount returned, but nothing is mounted"
    case $passthrough in
    on) ckptfs status "$mnt" --json | tr -d ' \n' | grep -q '"passthrough":{[^}]*"on":true' || fail "passthrough is not on" ;;
    off) ckptfs status "$mnt" --json | tr -d ' \n' | grep -q '"passthrough":{[^}]*"on":false' || fail "passthrough is not off" ;;
    esac
}

unmounted() {
    ckptfs unmount "$mnt" --wait
    ! mountpoint -q "$mnt" || fail "still mounted after unmount"
}

checked() {
    (cd "$mnt" && sha256sum --quiet -c "$sums") || fail "$1: bytes changed"
}

# Checksums are taken of the source, not of what the mount gives back.
save_one() {
    "$2" >/tmp/source
    cp /tmp/source "$run/$1.tmp"
    mv "$run/$1.tmp" "$run/$1"
    echo "$(sha256sum </tmp/source | cut -d ' ' -f 1)  run-1/$1" >>"$sums"
}

random_bytes() { head -c 33554432 /dev/urandom; }
text_bytes() { seq 2000000; }
zero_bytes() { head -c 8388608 /dev/zero; }
small_bytes() { echo '{"step": 1}'; }

save() {
    : >"$sums"
    mounted
    mkdir "$run"
    save_one model.bin random_bytes
    save_one optimizer.txt text_bytes
    save_one zeros.bin zero_bytes
    save_one state.json small_bytes
    # A trainer that is not root, as most are.
    mkdir -m 1777 "$mnt/shared"
    setpriv --reuid 10002 --regid 10002 --clear-groups sh -c "seq 100000 >$mnt/shared/log.txt"
    echo "$(seq 100000 | sha256sum | cut -d ' ' -f 1)  shared/log.txt" >>"$sums"
    [ "$(stat -c %u "$mnt/shared/log.txt")" = 10002 ] || fail "a file does not belong to who made it"
    checked "while hot"
    unmounted
    mounted
    checked "sealed and mounted again"
    # An update of a sealed file, and a removal.
    echo more >>"$run/optimizer.txt"
    rm "$run/zeros.bin"
    sed -i -e '/zeros.bin/d' -e '/optimizer.txt/d' "$sums"
    echo "$({ text_bytes; echo more; } | sha256sum | cut -d ' ' -f 1)  run-1/optimizer.txt" >>"$sums"
    checked "updated after sealing"
    unmounted
}

verify() {
    mounted
    checked "in a new container"
    [ ! -e "$run/zeros.bin" ] || fail "a removed file is back"
    unmounted
}

mkdir -p "$mnt" "$store"
"$step"
