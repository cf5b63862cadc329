# One static binary and the authorities that TLS trusts, in an image with nothing else: no shell, no package, no root.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# Static, with relocations in their short form and without the tables of unwinding: a seventh less. Runs of instructions that
# occur again and again become functions: 4 % less.
ENV RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs,--no-eh-frame-hdr,-T,no-unwinding.ld -C llvm-args=-enable-machine-outliner=always"
# Functions of the same code become one. Only LLVM's linker can do that, and Rust links with it on x86_64 alone.
ENV RUSTFLAGS_X86_64="-C link-arg=-Wl,--icf=all"
# Libraries' events of level `trace`, which tell of single frames and bytes, are left out.
ENV FEATURES=tracing/release_max_level_debug

# What changes seldom, as a layer of its own: every dependency, built around empty sources.
COPY Cargo.toml Cargo.lock no-unwinding.ld ./
COPY ecs-simulator/Cargo.toml ecs-simulator/
RUN mkdir -p src/bin tests/it benches ecs-simulator/src \
    && echo 'fn main() {}' >src/main.rs \
    && touch src/lib.rs src/bin/rehearse.rs tests/it/main.rs benches/plan.rs benches/peak.rs ecs-simulator/src/lib.rs \
    && if [ "$(uname -m)" = x86_64 ]; then RUSTFLAGS="$RUSTFLAGS $RUSTFLAGS_X86_64"; fi \
    # The target is named, though it is this machine's own, so that build scripts and macros are not linked statically.
    && cargo build --release --locked --no-default-features --features "$FEATURES" --bin ecs-rebalancer --target "$(uname -m)-unknown-linux-gnu"

COPY src src
# Newer than the empty ones, whatever time the files themselves tell.
RUN touch src/main.rs src/lib.rs \
    && if [ "$(uname -m)" = x86_64 ]; then RUSTFLAGS="$RUSTFLAGS $RUSTFLAGS_X86_64"; fi \
    && cargo build --release --locked --no-default-features --features "$FEATURES" --bin ecs-rebalancer --target "$(uname -m)-unknown-linux-gnu" \
    && mv "target/$(uname -m)-unknown-linux-gnu/release/ecs-rebalancer" /ecs-rebalancer

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ecs-rebalancer" \
      org.opencontainers.image.description="Measures how unevenly the tasks of an Amazon ECS cluster sit, and moves those that are misplaced" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /ecs-rebalancer /ecs-rebalancer
# The bundle by name, so that no folder is searched; on Fargate there is no metadata service to wait for.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt AWS_EC2_METADATA_DISABLED=true
USER 65532:65532
ENTRYPOINT ["/ecs-rebalancer"]
