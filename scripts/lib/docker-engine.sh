# shellcheck shell=bash
# The container engine of docker-test.sh: the one that runs here, or one of our own. Sourced, after setup.sh.
#
# An engine of our own has its own folders, no bridge and no firewall rules; it is stopped at the end, and only it.

# Sockets have short names, so the engine's live outside the repository.
ENGINE=
ENGINE_PID=
# What a build step fetches comes through this network. Read by docker-image.sh.
# shellcheck disable=SC2034
NETWORK=()

engine_find() {
    need_fuse
    if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
        say "using the engine that runs here"
        return
    fi
    [ "$(id -u)" = 0 ] ||
        die "no container engine answers; start one (systemctl start docker, or: dockerd &), or run this as root, which starts its own"
    if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then need_packages docker.io; fi
    engine_start
}

engine_start() {
    ENGINE=$(mktemp -d)
    mkdir -p "$CACHE/engine"
    dockerd --data-root "$CACHE/engine" --exec-root "$ENGINE/exec" --pidfile "$ENGINE/pid" \
        --host "unix://$ENGINE/docker.sock" --iptables=false --bridge=none >"$CACHE/engine.log" 2>&1 &
    ENGINE_PID=$!
    export DOCKER_HOST=unix://$ENGINE/docker.sock
    # There is no bridge, so what a build step fetches comes through the host's network.
    # shellcheck disable=SC2034
    NETWORK=(--network host)
    for _ in $(seq 60); do
        docker info >/dev/null 2>&1 && say "started an engine of our own" && return
        kill -0 "$ENGINE_PID" 2>/dev/null || break
        sleep 0.5
    done
    tail -n 5 "$CACHE/engine.log" >&2
    die "no container engine runs here and dockerd does not start; its log is .cache/docker/engine.log; start one (systemctl start docker) and try again"
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
