# One static binary and the authorities that TLS trusts, in an image with nothing else: no shell, no package, no root.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# One static binary: the image holds no libc.
ENV RUSTFLAGS="-C target-feature=+crt-static"

# What changes seldom, as a layer of its own: every dependency, built around empty sources.
COPY Cargo.toml Cargo.lock ./
COPY ecs-simulator/Cargo.toml ecs-simulator/
RUN mkdir -p src/bin tests/it benches ecs-simulator/src \
    && echo 'fn main() {}' >src/main.rs \
    && touch src/lib.rs src/bin/rehearse.rs tests/it/main.rs benches/plan.rs benches/peak.rs ecs-simulator/src/lib.rs \
    # The target is named, though it is this machine's own, so that build scripts and macros are not linked statically.
    && cargo build --release --locked --no-default-features --bin ecs-rebalancer --target "$(uname -m)-unknown-linux-gnu"

COPY src src
# Newer than the empty ones, whatever time the files themselves tell.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --no-default-features --bin ecs-rebalancer --target "$(uname -m)-unknown-linux-gnu" \
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
