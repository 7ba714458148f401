#!/bin/sh
# One step of scripts/package.sh --test, inside the booted system: what an admin does with the package, in order.
# Steps are called by name.
# shellcheck disable=SC2317
set -eu

STORE=/data/store
MNT=/mnt/runs

fail() {
    echo "error: $*" >&2
    exit 1
}
has() { case $1 in *"$2"*) ;; *) fail "'$2' is not in: $1" ;; esac }
# A `!` alone ends no script, nor does what comes before `&&`.
not() { if "$@"; then fail "it should not be: $*"; fi; }
mounted() { mountpoint -q "$MNT"; }
apt() { DEBIAN_FRONTEND=noninteractive apt-get "$@" 2>&1; }
save() { # FILE SEED
    mkdir -p "$MNT/exp"
    seq "$2" $(($2 + 200000)) >"$MNT/exp/$1.tmp"
    mv "$MNT/exp/$1.tmp" "$MNT/exp/$1"
}
same() { seq "$2" $(($2 + 200000)) | cmp - "$MNT/exp/$1"; }
daemon() { sed 's/.*"pid":\([0-9]*\).*/\1/' "$STORE/lock"; }
# umount(8) returns when the mount is gone; then the daemon makes all durable and ends.
closed() {
    for _ in $(seq 100); do
        ! grep -q '"closed":true' "$STORE/lock" || return 0
        sleep 0.1
    done
    fail "the daemon does not end"
}

step_install() {
    apt update -qq >/dev/null
    apt install -y /pkg/ckptfs.deb >/tmp/log || fail "$(cat /tmp/log)"
    ckptfs --version
    command -v fusermount3 >/dev/null || fail "fuse3 has not come with it"
    [ "$(readlink -f /sbin/mount.fuse.ckptfs)" = /usr/bin/ckptfs ]
    has "$(man -P cat ckptfs-mount)" allow_other
    man -w ckptfs ckptfs-restore mount.fuse.ckptfs >/dev/null
    completed=$(bash -c '. /usr/share/bash-completion/bash_completion
        _completion_loader ckptfs || true
        COMP_WORDS=(ckptfs mou) COMP_CWORD=1
        "$(complete -p ckptfs | sed "s/.*-F \([^ ]*\).*/\1/")" ckptfs mou ckptfs
        printf "%s\n" "${COMPREPLY[@]}"')
    has "$completed" mount
    for file in zsh/vendor-completions/_ckptfs fish/vendor_completions.d/ckptfs.fish doc/ckptfs/copyright doc/ckptfs/host.md; do
        [ -s "/usr/share/$file" ] || fail "/usr/share/$file is missing"
    done
    systemd-analyze verify /lib/systemd/system/ckptfs@.service
    mkdir -p /data "$MNT"
}

step_use() {
    ckptfs mount "$STORE" "$MNT" -o allow_other,settle=1s
    save a 1
    ckptfs snapshot "$MNT/exp"
    save a 2
    ckptfs log "$MNT/exp"
    seq 1 200001 | cmp - "$MNT/exp/.snapshots/000001/a"
    ckptfs unmount "$MNT"
    not mounted
    closed
}

step_fstab() {
    echo "$STORE $MNT fuse.ckptfs nofail,_netdev,allow_other,settle=1s,x-systemd.requires-mounts-for=/data 0 0" >/etc/fstab
    mount "$MNT"
    same a 2
    umount "$MNT"
    not mounted
    closed
    systemctl daemon-reload
    systemctl start mnt-runs.mount
    same a 2
    systemctl stop mnt-runs.mount
    not mounted
    closed
}

step_automount() {
    echo "$STORE $MNT fuse.ckptfs noauto,x-systemd.automount,nofail,allow_other,settle=1s 0 0" >/etc/fstab
    systemctl daemon-reload
    systemctl start mnt-runs.automount
    not grep -q "$MNT fuse.ckptfs" /proc/self/mounts
    # The first use mounts, and waits for it.
    timeout 60 sh -c "seq 2 200002 | cmp - $MNT/exp/a"
    grep -q "$MNT fuse.ckptfs" /proc/self/mounts
    systemctl stop mnt-runs.automount mnt-runs.mount
    not grep -q "$MNT" /proc/self/mounts
    closed
    : >/etc/fstab
    systemctl daemon-reload
}

step_service() {
    mkdir -p /etc/ckptfs
    printf 'STORE=%s\nMOUNTPOINT=%s\n' "$STORE" "$MNT" >/etc/ckptfs/runs.conf
    systemctl start ckptfs@runs
    mounted
    same a 2
    systemctl stop ckptfs@runs
    echo 'OPTIONS=allow_other,settle=1s,passthrough=on' >>/etc/ckptfs/runs.conf
    systemctl enable --now ckptfs@runs
    mounted
    has "$(systemctl show -p StatusText ckptfs@runs)" "is mounted at $MNT"
    save a 3
    chmod 777 "$MNT/exp"
    # The unit leaves the daemon what it needs to tell who wrote a save.
    header="{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }"
    # shellcheck disable=SC2016
    setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'exec 3>"$1"; printf "\223NUMPY\001\000\166\000%-117s\n1234" "$2" >&3
        sleep 1' - "$MNT/exp/by-nobody.npy" "$header"
    ckptfs snapshot "$MNT/exp"
    has "$(ckptfs status "$MNT")" "passthrough  on"
    has "$(ckptfs log "$MNT/exp" --json)" '"uid":65534'
    [ "$(ckptfs status "$MNT" --json | sed 's/.*"last_errors":\(\[[^]]*\]\).*/\1/')" = "[]" ]
    # Stopped while a file is open: in order, and in time.
    sh -c "exec 3>$MNT/exp/open; echo half >&3; sleep 60" &
    holder=$!
    sleep 1
    began=$(date +%s)
    systemctl stop ckptfs@runs
    [ $(($(date +%s) - began)) -le 15 ] || fail "stopping takes too long"
    has "$(systemctl show -p Result ckptfs@runs)" success
    kill "$holder"
    not mounted
    closed
    systemctl start ckptfs@runs
    same a 3
    [ "$(cat "$MNT/exp/open")" = half ]
    # Another that is asked wrongly fails in one line and is not tried again and again.
    printf 'STORE=%s\nMOUNTPOINT=/mnt/none\nOPTIONS=setle=1s\n' /data/other >/etc/ckptfs/wrong.conf
    if systemctl start ckptfs@wrong 2>/dev/null; then fail "a wrong option is taken"; fi
    sleep 3
    has "$(systemctl show -p NRestarts ckptfs@wrong)" NRestarts=0
    has "$(systemctl status ckptfs@wrong || true)" "'settle'"
    systemctl reset-failed ckptfs@wrong
    rm /etc/ckptfs/wrong.conf
}

step_crash() {
    before=$(daemon)
    systemctl kill -s KILL ckptfs@runs
    for _ in $(seq 100); do
        [ "$(daemon)" != "$before" ] && systemctl is-active -q ckptfs@runs && break
        sleep 0.1
    done
    mounted
    same a 3
    has "$(systemctl show -p NRestarts ckptfs@runs)" NRestarts=1
    [ "$(grep -c "$MNT fuse" /proc/self/mounts)" = 1 ]
}

step_upgrade() {
    before=$(daemon)
    # A training that saves all the time.
    sh -c "while :; do seq 9 200009 >$MNT/exp/b.tmp && mv $MNT/exp/b.tmp $MNT/exp/b || touch /tmp/save-failed; sleep 0.1; done" &
    training=$!
    sleep 1
    apt install -y /pkg/newer.deb >/tmp/log || fail "$(cat /tmp/log)"
    has "$(dpkg-query -W -f '${Version}' ckptfs)" "$NEWER"
    has "$(cat /tmp/log)" "$MNT"
    has "$(cat /tmp/log)" "until they are unmounted"
    sleep 1
    kill "$training"
    wait "$training" || true
    [ ! -e /tmp/save-failed ] || fail "a save fails during the upgrade"
    [ "$(daemon)" = "$before" ] || fail "the upgrade has restarted the daemon"
    same b 9
    # The program on the disk is another file now; the daemon and the new commands understand each other.
    has "$(readlink "/proc/$before/exe")" deleted
    ckptfs status "$MNT" >/dev/null
    ckptfs snapshot "$MNT/exp"
    systemctl restart ckptfs@runs
    [ "$(readlink "/proc/$(daemon)/exe")" = /usr/bin/ckptfs ]
    same b 9
}

step_remove() {
    if apt remove -y ckptfs >/tmp/log; then fail "removed under a mounted store"; fi
    has "$(cat /tmp/log)" "ckptfs unmount $MNT"
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' ckptfs)" = "ii " ] || fail "$(dpkg-query -W -f '${db:Status-Abbrev}' ckptfs)"
    same b 9
    systemctl disable --now ckptfs@runs
    apt remove -y ckptfs >/tmp/log || fail "$(cat /tmp/log)"
    not test -e /usr/bin/ckptfs
    not test -L /sbin/mount.fuse.ckptfs
    [ -s /etc/ckptfs/runs.conf ]
    apt purge -y ckptfs >/tmp/log || fail "$(cat /tmp/log)"
    not test -e /etc/ckptfs
    not test -e /etc/needrestart/conf.d/ckptfs.conf
    [ -s "$STORE/format" ] || fail "the store is gone"
    apt install -y /pkg/ckptfs.deb >/tmp/log || fail "$(cat /tmp/log)"
    ckptfs mount "$STORE" "$MNT"
    same b 9
    ckptfs unmount "$MNT"
}

case $1 in
install | use | fstab | automount | service | crash | upgrade | remove)
    # A plain call: `set -e` is off inside a condition. Only of what fails there is something to read.
    set +e
    (
        set -eux
        "step_$1"
    ) >/tmp/step.log 2>&1
    ended=$?
    set -e
    [ "$ended" = 0 ] || tail -n 25 /tmp/step.log >&2
    exit "$ended"
    ;;
*) fail "no step '$1'" ;;
esac
