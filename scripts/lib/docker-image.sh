# shellcheck shell=bash
# The images of docker-test.sh. Sourced, after setup.sh and docker-engine.sh.
#
# Without a registry the base images are made: debootstrap for Debian, this machine's Rust toolchain on top for compiling,
# and `cargo vendor` for the crates. An engine keeps them, so that the next run finds them.

RUNTIME_IMAGE=${RUNTIME_IMAGE:-debian:bookworm-slim}
BUILD_IMAGE=${BUILD_IMAGE:-rust:1.95-slim-bookworm}
IMAGE=ckptfs-test:local
# inside: compile in the image; prebuilt: take $CKPTFS. Set by docker-test.sh.
BUILD=inside
CONTEXT=$CACHE/context

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
    need_packages debootstrap
    local root suite site
    suite=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
    # shellcheck disable=SC2016
    site=$(apt-get indextargets --format '$(SITE)|$(RELEASE)|$(COMPONENT)' | sed -n "s/|$suite|main\$//p" | head -n 1)
    [ -n "$site" ] || die "apt knows no archive for $suite; set RUNTIME_IMAGE to an image that this engine has"
    root=$(mktemp -d "$CACHE/root.XXXXXX")
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "$site" >"$CACHE/debootstrap.log" ||
        die "debootstrap failed; its log is .cache/docker/debootstrap.log"
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
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
        [ -x "$CKPTFS" ] || die "no program at $CKPTFS; build it with: cargo build --release"
        mkdir "$CONTEXT/dist"
        cp "$CKPTFS" "$CONTEXT/dist/ckptfs"
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
