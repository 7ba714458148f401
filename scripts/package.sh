#!/usr/bin/env bash
# Builds the Debian package, and tries it on a clean Debian:
#
#   scripts/package.sh [--prebuilt] [--no-install]      --prebuilt: take target/release/ckptfs as it is
#   sudo scripts/package.sh --test [...]                then install, use, upgrade under a mounted store, remove and purge it
#                                                       in a new Debian system, with its systemd running
#
# The package is target/debian/ckptfs_VERSION_ARCH.deb: program, manual pages, completions, the helper of mount(8),
# and the unit ckptfs@.service (docs/host.md). What the build needs and is not there is installed, cargo-deb
# below .cache/tools; --no-install says what is missing instead.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"
# shellcheck source-path=SCRIPTDIR source=lib/package_test.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/package_test.sh"

# Beside target/release, where Cargo.toml looks for them.
MADE=$REPO/target/package
TOOLS=$REPO/.cache/tools
CARGO_DEB_VERSION=3.8.0
DEB=
PREBUILT=no
TRY=no

usage() { sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

need_cargo_deb() {
    "$TOOLS/bin/cargo-deb" --version 2>/dev/null | grep -qF "$CARGO_DEB_VERSION" && return
    local install="cargo install --locked --root $TOOLS cargo-deb@$CARGO_DEB_VERSION"
    [ "$INSTALL" = yes ] || die "cargo-deb is missing; install it with: $install"
    say "installing cargo-deb $CARGO_DEB_VERSION below .cache/tools (some minutes, once)"
    $install --quiet || die "cargo-deb cannot be installed; the command was: $install"
}

# What the package has besides the program is made by the program.
make_files() {
    rm -rf "$MADE"
    mkdir -p "$MADE/man"
    "$CKPTFS" man "$MADE/man"
    # Same bytes, same package: no name and no time in the compressed file.
    gzip -9n "$MADE/man"/*.1
    "$CKPTFS" completions bash >"$MADE/ckptfs.bash"
    "$CKPTFS" completions zsh >"$MADE/_ckptfs"
    "$CKPTFS" completions fish >"$MADE/ckptfs.fish"
    # A link, not a copy: an upgrade replaces one file.
    ln -s ../bin/ckptfs "$MADE/mount.fuse.ckptfs"
    mkdir "$MADE/man8"
    ln -s ../man1/ckptfs-mount.1.gz "$MADE/man8/mount.fuse.ckptfs.8.gz"
    changelog | gzip -9n >"$MADE/changelog.gz"
}

changelog() {
    local version
    version=$("$CKPTFS" --version | cut -d' ' -f2)
    printf 'ckptfs (%s) unstable; urgency=medium\n\n  * Version %s.\n\n -- The ckptfs authors <maintainers@ckptfs.invalid>  %s\n' \
        "$version" "$version" "$(date -R -u -d "@$(git -C "$REPO" log -1 --format=%ct 2>/dev/null || echo 0)")"
}

build() {
    need_rust
    need_packages dpkg-dev
    need_cargo_deb
    if [ "$PREBUILT" = no ]; then build_program; fi
    [ -x "$CKPTFS" ] || die "no program at $CKPTFS; build it with: cargo build --release"
    make_files
    mkdir -p "$REPO/target/debian"
    DEB=$(cd "$REPO" && "$TOOLS/bin/cargo-deb" deb --no-build --strip --quiet --deb-revision=)
    [ -f "$DEB" ] || die "cargo-deb made no package"
    say "package: $DEB ($(stat -c %s "$DEB" | numfmt --to=iec) bytes)"
}

main() {
    local option
    for option in "$@"; do
        case $option in
        --prebuilt) PREBUILT=yes ;;
        --no-install) INSTALL=no ;;
        --test) TRY=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) die "unknown option $option; see: scripts/package.sh --help" ;;
        esac
    done
    build
    if [ "$TRY" = yes ]; then package_test "$DEB"; fi
}

main "$@"
