# ckptfs in a container.
#
#   docker build -t ckptfs .
#   docker run --rm --device /dev/fuse --cap-add SYS_ADMIN -v checkpoints:/store ckptfs mount --foreground /store /mnt
#
# Where AppArmor is on, mounting also needs `--security-opt apparmor=unconfined`. SYS_ADMIN is what mount(2) and kernel
# passthrough ask for; what else there is to know is in docs/containers.md. scripts/docker-test.sh builds this file and
# uses the result, also where no registry is reachable.

# Both bases are arguments, so that a site can put its own in.
ARG BUILD_IMAGE=rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

# ---- build: never as root, and nothing of it but one file reaches the image that runs ----
FROM ${BUILD_IMAGE} AS build
# inside: compile here (a `vendor` folder with its .cargo/config.toml makes that work without a network);
# prebuilt: take dist/ckptfs from the build context.
ARG BUILD=inside
RUN useradd --create-home --uid 10001 builder && install -d -o builder -g builder /home/builder/ckptfs
USER builder
WORKDIR /home/builder/ckptfs
COPY --chown=builder:builder . .
RUN set -eu; \
    case "$BUILD" in \
    inside) CARGO_PROFILE_RELEASE_STRIP=debuginfo cargo build --release --locked; cp target/release/ckptfs /home/builder/ckptfs.out ;; \
    prebuilt) cp dist/ckptfs /home/builder/ckptfs.out ;; \
    *) echo "BUILD is '$BUILD'; it must be inside or prebuilt" >&2; exit 1 ;; \
    esac; \
    /home/builder/ckptfs.out --version

# ---- run: a small Debian, fuse3 and the program ----
FROM ${RUNTIME_IMAGE}
RUN set -eu; \
    if ! command -v fusermount3 >/dev/null; then \
        apt-get update; \
        apt-get install -y --no-install-recommends fuse3; \
        rm -rf /var/lib/apt/lists/* /var/cache/apt/*; \
    fi
COPY --from=build /home/builder/ckptfs.out /usr/local/bin/ckptfs
# A store that was not closed is recovered before it is mounted, which may take its time.
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m CMD ["ckptfs", "status", "--check"]
ENTRYPOINT ["ckptfs"]
CMD ["--help"]
