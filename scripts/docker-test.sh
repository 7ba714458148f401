#!/usr/bin/env bash
# Builds the container image and uses it, in containers with nothing but /dev/fuse and SYS_ADMIN, passthrough on and off:
#
#   scripts/docker-test.sh [--prebuilt] [--quick] [--no-install]
#
#   --prebuilt    takes target/release/ckptfs instead of compiling in the image
#   --quick       that, and leaves out the long part: the Rust integration tests and torch in a container
#   --no-install  says what is missing instead of installing it
#
# Mount, save, checksum, seal, mount again and read back, the store on a volume and on the container's own filesystem; a
# service that is stopped with SIGTERM; then tests/containers: what is said where a privilege is missing, the daemon in one
# container and the trainer in another, and the manifests of docs/kubernetes. Takes .venv for these (pytest, torch).
#
# It makes do with what is there. Without a running engine it starts one of its own and stops that one, and only that one,
# at the end; without a registry it makes the base images.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"
CACHE=$REPO/.cache/docker
# shellcheck source-path=SCRIPTDIR source=lib/docker-engine.sh
. "$REPO/scripts/lib/docker-engine.sh"
# shellcheck source-path=SCRIPTDIR source=lib/docker-image.sh
. "$REPO/scripts/lib/docker-image.sh"
QUICK=no
CONTAINER=
VOLUMES=()

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

# What needs more than a shell: tests/containers. They find engine, image and program by these names.
test_suite() {
    local chosen=()
    [ "$QUICK" = no ] || chosen=(-m "not long")
    mkdir -p "$CACHE/tests"
    CKPTFS_IMAGE=$IMAGE "$PYTHON" -m pytest tests/containers "${chosen[@]}" --basetemp="$CACHE/tests/run" --durations=8
}

main() {
    local option
    for option in "$@"; do
        case $option in
        --prebuilt) BUILD=prebuilt ;;
        --quick) BUILD=prebuilt QUICK=yes ;;
        --no-install) INSTALL=no ;;
        -h | --help) usage && return ;;
        *) usage && die "unknown argument '$option'" ;;
        esac
    done
    cd "$REPO"
    mkdir -p "$CACHE"
    need_python test
    trap cleanup EXIT
    engine_find
    build_image
    test_volume on
    test_volume off
    test_overlay
    test_service
    test_suite
    say "docker: all passed"
}

main "$@"
