# The executable, on a small base, as a user without rights:
#
#   docker build -t agent .
#   docker run --rm agent version

FROM debian:12-slim AS build
# hadolint ignore=DL3008 # the release of the base image is the pin
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates git python3-pip \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# "--runtime-from-pypi" where only package registries can be reached; see scripts/compile.
ARG COMPILE_OPTIONS=""
# hadolint ignore=SC2086 # none, or several
RUN scripts/compile ${COMPILE_OPTIONS}

FROM debian:12-slim
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install -y --no-install-recommends tini \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --uid 10001 --home-dir /var/lib/agent --no-create-home --shell /usr/sbin/nologin agent \
  && install -d -o agent -g agent -m 0700 /etc/agent /var/lib/agent
COPY --from=build /src/dist/agent /usr/local/bin/agent
# Configuration in /etc/agent, data in /var/lib/agent, as for root elsewhere.
ENV XDG_CONFIG_HOME=/etc XDG_STATE_HOME=/var/lib
VOLUME ["/etc/agent", "/var/lib/agent"]
USER 10001:10001
WORKDIR /var/lib/agent
ENTRYPOINT ["tini", "--", "agent"]
CMD ["--help"]
