# shellcheck shell=bash
# The Debian package on a clean Debian whose systemd runs (systemd-nspawn): what scripts/package.sh --test does. Sourced, never run.
#
# Order: a base system by debootstrap, once, kept below .cache/package; a copy of it for this run; boot; the steps of
# package-inside.sh, each in the booted system; power off. The copy is removed after success and kept, and named, after a failure.

PACKAGE_CACHE=$REPO/.cache/package
PACKAGE_ROOT=
NSPAWN_PID=
LEADER=
# The upgrade is to the same program under this version.
NEWER=99.0.0

package_test() {
    [ "$(id -u)" = 0 ] || die "the package is installed in a Debian system of its own, which needs root; run it with sudo"
    need_fuse
    need_packages debootstrap systemd-container dpkg-dev lintian
    need_free "$REPO" 2
    mkdir -p "$PACKAGE_CACHE"
    package_lint "$1"
    package_base
    PACKAGE_ROOT=$(mktemp -d "$PACKAGE_CACHE/root.XXXXXX")
    trap package_end EXIT
    cp -a --reflink=auto "$PACKAGE_CACHE/base/." "$PACKAGE_ROOT"
    mkdir "$PACKAGE_ROOT/pkg"
    cp "$1" "$PACKAGE_ROOT/pkg/ckptfs.deb"
    package_raise "$1" "$PACKAGE_ROOT/pkg/newer.deb"
    cp "$REPO/scripts/lib/package-inside.sh" "$PACKAGE_ROOT/pkg/inside.sh"
    package_boot
    local one
    for one in install use fstab automount service crash upgrade remove; do
        inside "$one" || die "the package fails at: $one"
        say "package: $one: passed"
    done
    say "package: all passed"
}

package_lint() {
    local said
    said=$(lintian --allow-root --fail-on error --suppress-tags initial-upload-closes-no-bugs "$1" 2>&1) ||
        die "lintian finds errors: $said"
    say "lintian: no errors"
}

# A small Debian of this machine's release, with its systemd, as a machine has it before the package comes.
package_base() {
    local suite site log=$PACKAGE_CACHE/debootstrap.log
    [ ! -e "$PACKAGE_CACHE/base/made" ] || return 0
    say "making a Debian system with debootstrap (a minute, once)"
    rm -rf "$PACKAGE_CACHE/base"
    suite=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
    # shellcheck disable=SC2016
    site=$(apt-get indextargets --format '$(SITE)|$(RELEASE)|$(COMPONENT)' | sed -n "s/|$suite|main\$//p" | head -n 1)
    [ -n "$site" ] || die "apt knows no archive for $suite"
    debootstrap --variant=minbase --include=systemd-sysv,dbus,man-db,bash-completion,kmod "$suite" "$PACKAGE_CACHE/base" \
        "$site" >"$log" 2>&1 || die "debootstrap failed; its log is .cache/package/debootstrap.log"
    touch "$PACKAGE_CACHE/base/made"
}

# package_raise FROM TO: the same package under a higher version.
package_raise() {
    local folder
    folder=$(mktemp -d "$PACKAGE_CACHE/raise.XXXXXX")
    dpkg-deb -R "$1" "$folder"
    sed -i "s/^Version: .*/Version: $NEWER/" "$folder/DEBIAN/control"
    dpkg-deb --root-owner-group -b "$folder" "$2" >/dev/null
    rm -r "$folder"
}

package_boot() {
    systemd-nspawn --register=no --keep-unit --directory "$PACKAGE_ROOT" --boot --console=pipe --capability=all \
        --resolv-conf=copy-host --bind=/dev/fuse --bind=/dev/autofs </dev/null >"$PACKAGE_CACHE/boot.log" 2>&1 &
    NSPAWN_PID=$!
    local state
    for _ in $(seq 120); do
        kill -0 "$NSPAWN_PID" 2>/dev/null || die "the system does not boot; its log is .cache/package/boot.log"
        LEADER=$(pgrep -P "$NSPAWN_PID" -x systemd || true)
        if [ -n "$LEADER" ]; then
            state=$(enter systemctl is-system-running 2>/dev/null || true)
            [ "$state" != running ] || return 0
            [ "$state" != degraded ] || die "the system boots with failed units: $(enter systemctl --failed --no-legend)"
        fi
        sleep 0.5
    done
    die "the system does not finish to boot within 60 s; its log is .cache/package/boot.log"
}

enter() { nsenter --target "$LEADER" --mount --uts --ipc --net --pid -- "$@"; }

inside() { enter env -i PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8 NEWER="$NEWER" timeout 300 sh /pkg/inside.sh "$1"; }

package_end() {
    local status=$?
    trap - EXIT
    if [ -n "$LEADER" ] && kill -0 "$NSPAWN_PID" 2>/dev/null; then
        enter systemctl poweroff --no-block || status=1
        for _ in $(seq 60); do
            kill -0 "$NSPAWN_PID" 2>/dev/null || break
            sleep 0.5
        done
    fi
    if [ -n "$NSPAWN_PID" ] && kill -0 "$NSPAWN_PID" 2>/dev/null; then
        say "the system does not power off within 30 s"
        status=1
        [ -z "$LEADER" ] || kill -KILL "$LEADER"
        kill "$NSPAWN_PID" 2>/dev/null || true
    fi
    if [ "$status" = 0 ]; then
        rm -rf --one-file-system "$PACKAGE_ROOT"
    else
        say "failed; the system is kept in $PACKAGE_ROOT"
    fi
    exit "$status"
}
