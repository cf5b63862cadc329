# One static binary and the authorities that TLS trusts, in an image with nothing else: no shell, no package, no root.
# The processor is the builder's own, or the one that `--platform` names: linux/amd64 or linux/arm64. Either is built on either,
# by a cross compiler and without emulation.

# A build with `--sbom` lists the crates of Cargo.lock: the binary itself tells none.
ARG BUILDKIT_SBOM_SCAN_CONTEXT=true

# The digest is the index of all processors. `docker buildx imagetools inspect rust:1.95-slim-bookworm` tells a newer one.
ARG RUST=docker.io/library/rust:1.95-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082
FROM --platform=${BUILDPLATFORM} ${RUST} AS build
WORKDIR /build
ARG BUILDARCH
ARG TARGETARCH
# One static binary: the image holds no libc.
ENV RUSTFLAGS="-C target-feature=+crt-static"
ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc
# The cross compiler, if it is another processor. The target is always named, so that build scripts and macros, which run here,
# are not linked statically.
# hadolint ignore=DL3008,DL4006
RUN case "${TARGETARCH:=${BUILDARCH}}" in \
        amd64) processor=x86_64 packages="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" ;; \
        arm64) processor=aarch64 packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; \
        *) echo "there is no image for the processor '${TARGETARCH}': linux/amd64 or linux/arm64" >&2; exit 1 ;; \
    esac \
    && echo "${processor}-unknown-linux-gnu" >/target \
    && if [ "${processor}" != "$(uname -m)" ]; then \
        # One a line, whatever the shell makes of words.
        apt-get update \
        && echo "${packages}" | xargs apt-get install --yes --no-install-recommends \
        && rm -rf /var/lib/apt/lists/* \
        && rustup target add "$(cat /target)"; \
    fi

# What changes seldom, as a layer of its own: every dependency, built around empty sources.
COPY Cargo.toml Cargo.lock ./
COPY conformance/Cargo.toml conformance/
COPY ecs-simulator/Cargo.toml ecs-simulator/
RUN mkdir -p src/bin tests/it benches conformance/src ecs-simulator/src \
    && echo 'fn main() {}' >src/main.rs \
    && touch src/lib.rs src/bin/rehearse.rs tests/it/main.rs benches/plan.rs benches/peak.rs benches/growth.rs conformance/src/lib.rs ecs-simulator/src/lib.rs \
    && cargo build --release --locked --no-default-features --bin ecs-rebalancer --target "$(cat /target)"

COPY src src
# Newer than the empty ones, whatever time the files themselves tell.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --no-default-features --bin ecs-rebalancer --target "$(cat /target)" \
    && mv "target/$(cat /target)/release/ecs-rebalancer" /ecs-rebalancer

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="ecs-rebalancer" \
      org.opencontainers.image.description="Measures how unevenly the tasks of an Amazon ECS cluster sit, and moves those that are misplaced" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /ecs-rebalancer /ecs-rebalancer
COPY LICENSE THIRD-PARTY-NOTICES.txt /licenses/
# The bundle by name, so that no folder is searched; on Fargate there is no metadata service to wait for.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt AWS_EC2_METADATA_DISABLED=true
USER 65532:65532
ENTRYPOINT ["/ecs-rebalancer"]
