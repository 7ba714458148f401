#!/usr/bin/env bash
# Builds the container image and uses it: mount, save, checksum, seal, mount again, read back, in containers with nothing
# but /dev/fuse and SYS_ADMIN, passthrough on and off, the store on a volume and on the container's own filesystem; then
# as a service that is stopped with SIGTERM.
#
#   scripts/docker-test.sh [--prebuilt]      --prebuilt: take target/release/ckptfs instead of compiling in the image
#
# It makes do with what is there. Without a running engine it starts one of its own (own folders, no bridge, no firewall
# rules) and stops that one, and only that one, at the end. Without a registry it makes the base images: debootstrap
# for Debian, this machine's Rust toolchain on top for compiling, and `cargo vendor` for the crates.
set -euo pipefail
REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=$REPO/.cache/docker
CONTEXT=$CACHE/context
RUNTIME_IMAGE=${RUNTIME_IMAGE:-debian:bookworm-slim}
BUILD_IMAGE=${BUILD_IMAGE:-rust:1.95-slim-bookworm}
IMAGE=ckptfs-test:local
BUILD=inside
# Sockets have short names, so the engine's live outside the repository.
ENGINE=
ENGINE_PID=
NETWORK=()
CONTAINER=
VOLUMES=()

say() { printf '%s\n' "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }
cleanup() {
    local status=$? volume
    trap - EXIT
    [ -z "$CONTAINER" ] || docker rm -f "$CONTAINER" >/dev/null || status=1
    for volume in "${VOLUMES[@]}"; do
        docker volume rm "$volume" >/dev/null || status=1
    done
    [ -z "$ENGINE_PID" ] || engine_stop || status=1
    exit "$status"
}

# ---- the engine ----

install_packages() {
    [ "$(id -u)" = 0 ] || die "$1 is missing; install it (Debian: apt-get install $1) or run this as root"
    command -v apt-get >/dev/null || die "$1 is missing, and there is no apt-get to install it with"
    say "installing $*"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

engine_find() {
    [ -c /dev/fuse ] || die "there is no /dev/fuse; load it with: modprobe fuse"
    if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
        say "using the engine that runs here"
        return
    fi
    command -v dockerd >/dev/null || install_packages docker.io
    engine_start
}

engine_start() {
    [ "$(id -u)" = 0 ] || die "no engine answers; start one, or run this as root so that it can start its own"
    ENGINE=$(mktemp -d)
    mkdir -p "$CACHE/engine"
    dockerd --data-root "$CACHE/engine" --exec-root "$ENGINE/exec" --pidfile "$ENGINE/pid" \
        --host "unix://$ENGINE/docker.sock" --iptables=false --bridge=none >"$CACHE/engine.log" 2>&1 &
    ENGINE_PID=$!
    export DOCKER_HOST=unix://$ENGINE/docker.sock
    # There is no bridge, so what a build step fetches comes through the host's network.
    NETWORK=(--network host)
    for _ in $(seq 60); do
        docker info >/dev/null 2>&1 && say "started an engine of our own" && return
        kill -0 "$ENGINE_PID" 2>/dev/null || break
        sleep 0.5
    done
    tail -n 5 "$CACHE/engine.log" >&2
    die "no engine runs here and dockerd does not start; its log is .cache/docker/engine.log"
}

engine_stop() {
    # The steps of today's builds stay, for the next run's cache.
    docker image prune -f --filter until=24h >/dev/null || return 1
    kill "$ENGINE_PID"
    wait "$ENGINE_PID" || return 1
    # It leaves the namespace of `--network none` mounted.
    ! mountpoint -q "$ENGINE/exec/netns/default" || umount "$ENGINE/exec/netns/default"
    rm -rf "$ENGINE"
}

# ---- the images ----

have_image() { docker image inspect "$1" >/dev/null 2>&1; }
pulled() { have_image "$1" || timeout 60 docker pull -q "$1" >/dev/null 2>&1; }

# docker_build ARGUMENTS: with the builder that this client has.
docker_build() {
    local kit=1
    docker buildx version >/dev/null 2>&1 || kit=0
    DOCKER_BUILDKIT=$kit docker build "${NETWORK[@]}" "$@" >"$CACHE/build.log" 2>&1 || {
        tail -n 15 "$CACHE/build.log" >&2
        die "an image does not build; the whole log is .cache/docker/build.log"
    }
}

# base_runtime: a small Debian, pulled or made.
base_runtime() {
    pulled "$RUNTIME_IMAGE" && return
    RUNTIME_IMAGE=ckptfs-base:local
    have_image "$RUNTIME_IMAGE" && return
    say "no registry is reachable: making a base image with debootstrap"
    command -v debootstrap >/dev/null || install_packages debootstrap
    local root suite site
    suite=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
    # shellcheck disable=SC2016
    site=$(apt-get indextargets --format '$(SITE)|$(RELEASE)|$(COMPONENT)' | sed -n "s/|$suite|main\$//p" | head -n 1)
    [ -n "$site" ] || die "apt knows no archive for $suite; set RUNTIME_IMAGE to an image that this engine has"
    root=$(mktemp -d "$CACHE/root.XXXXXX")
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "$site" >"$CACHE/debootstrap.log" ||
        die "debootstrap failed; its log is .cache/docker/debootstrap.log"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    tar -C "$root" -c . | docker import - "$RUNTIME_IMAGE" >/dev/null
    rm -rf "$root"
}

# base_build: what compiles. A prebuilt program needs no compiler; otherwise a Rust image, pulled or made.
base_build() {
    if [ "$BUILD" = prebuilt ]; then
        BUILD_IMAGE=$RUNTIME_IMAGE
        return
    fi
    pulled "$BUILD_IMAGE" && return
    BUILD_IMAGE=ckptfs-build-base:local
    have_image "$BUILD_IMAGE" && return
    say "no registry is reachable: making a build image from this machine's Rust toolchain"
    local folder=$CACHE/toolchain
    rm -rf "$folder"
    mkdir -p "$folder/rust"
    tar -C "$(rustc --print sysroot)" --exclude='lib/rustlib/src' --exclude='*wasm*' -c bin/cargo bin/rustc lib |
        tar -C "$folder/rust" -x
    printf '%s\n' "FROM $RUNTIME_IMAGE" \
        'RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev' \
        'COPY rust /usr/local' >"$folder/Dockerfile"
    docker_build -t "$BUILD_IMAGE" "$folder"
    rm -rf "$folder"
}

# context: what the build may see, with the crates beside it so that it needs no network.
context() {
    rm -rf "$CONTEXT"
    mkdir -p "$CONTEXT"
    cp -r "$REPO/Cargo.toml" "$REPO/Cargo.lock" "$REPO/src" "$CONTEXT"
    if [ "$BUILD" = prebuilt ]; then
        local program=${CKPTFS:-$REPO/target/release/ckptfs}
        [ -x "$program" ] || die "no program at $program; build it with: cargo build --release"
        mkdir "$CONTEXT/dist"
        cp "$program" "$CONTEXT/dist/ckptfs"
        return
    fi
    mkdir "$CONTEXT/.cargo"
    # What it prints is the configuration that makes cargo look there; quiet, it would not print that either.
    (cd "$CONTEXT" && cargo vendor --locked vendor >.cargo/config.toml 2>"$CACHE/vendor.log") ||
        die "cargo vendor failed; its log is .cache/docker/vendor.log"
}

build_image() {
    base_runtime
    base_build
    context
    say "building the image ($BUILD)"
    docker_build -t "$IMAGE" -f "$REPO/Dockerfile" --build-arg BUILD="$BUILD" --build-arg BUILD_IMAGE="$BUILD_IMAGE" \
        --build-arg RUNTIME_IMAGE="$RUNTIME_IMAGE" "$CONTEXT"
    say "image: $(docker image inspect -f '{{.Size}}' "$IMAGE" | numfmt --to=iec) bytes"
}

# ---- the tests ----

run_flags() {
    printf '%s\n' --device /dev/fuse --cap-add SYS_ADMIN --network none
    [ ! -e /sys/kernel/security/apparmor ] || printf '%s\n' --security-opt apparmor=unconfined
}

# in_container VOLUME STORE PASSTHROUGH STEP...: one new container, the steps in order.
in_container() {
    local volume=$1 store=$2 passthrough=$3 flags step
    shift 3
    mapfile -t flags < <(run_flags)
    [ -z "$volume" ] || flags+=(-v "$volume:/data")
    CONTAINER=$(docker create -i "${flags[@]}" --entrypoint sleep "$IMAGE" infinity)
    docker start "$CONTAINER" >/dev/null
    for step in "$@"; do
        docker exec -i "$CONTAINER" sh -s "$store" "$passthrough" "$step" <"$REPO/scripts/lib/docker-inside.sh" ||
            die "container test failed: $step, store $store, passthrough $passthrough"
    done
    docker rm -f "$CONTAINER" >/dev/null
    CONTAINER=
}

test_volume() {
    local volume=ckptfs-test-$$-$1
    docker volume create "$volume" >/dev/null
    VOLUMES+=("$volume")
    in_container "$volume" /data/store "$1" save
    in_container "$volume" /data/store "$1" verify
    say "store on a volume, passthrough $1: saved, sealed, read back in a second container"
}

# The container's own filesystem is an overlay; what ckptfs does there is its own choice.
test_overlay() {
    in_container "" /store auto save verify
    say "store in the container's own filesystem: saved, sealed, read back"
}

# As a service: the mount is the container's main process, and `docker stop` must end it in order.
test_service() {
    local volume=ckptfs-test-$$-service flags ended
    docker volume create "$volume" >/dev/null
    VOLUMES+=("$volume")
    mapfile -t flags < <(run_flags)
    CONTAINER=$(docker create "${flags[@]}" -v "$volume:/data" "$IMAGE" mount --foreground /data/store /mnt)
    docker start "$CONTAINER" >/dev/null
    docker exec "$CONTAINER" sh -c 'for i in $(seq 100); do mountpoint -q /mnt && exit; sleep 0.1; done; exit 1' ||
        die "the service did not mount within 10 s: $(docker logs "$CONTAINER" 2>&1 | tail -n 3)"
    docker exec "$CONTAINER" sh -c 'seq 1000000 >/mnt/a && mv /mnt/a /mnt/b && seq 1000000 | cmp - /mnt/b' ||
        die "the service does not give back what was saved"
    docker stop -t 15 "$CONTAINER" >/dev/null
    ended=$(docker inspect -f '{{.State.ExitCode}}' "$CONTAINER")
    [ "$ended" = 0 ] || die "after docker stop the service ended with status $ended (137: killed after 15 s)"
    docker rm "$CONTAINER" >/dev/null
    CONTAINER=
    say "as a service: mounted, saved, stopped in order"
}

main() {
    case ${1:-} in
    '') ;;
    --prebuilt) BUILD=prebuilt ;;
    -h | --help) usage && return ;;
    *) usage && die "unknown argument '$1'" ;;
    esac
    mkdir -p "$CACHE"
    trap cleanup EXIT
    engine_find
    build_image
    test_volume on
    test_volume off
    test_overlay
    test_service
    say "docker: all passed"
}

main "$@"
