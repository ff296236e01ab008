# The executable on a small base with glibc, run by an unprivileged user:
#
#   scripts/image-build                 or: docker build -t agent .
#   docker run --rm agent version
#
# ARGs: BASE (any image of Debian's family), COMPILE_OPTIONS (see scripts/compile), EXECUTABLE (a file
# in this folder, to package instead of compiling).

ARG BASE=debian:12-slim

# hadolint ignore=DL3006 # the default has its tag
FROM ${BASE} AS build
ARG EXECUTABLE=""
ARG COMPILE_OPTIONS=""
WORKDIR /src
COPY . .
# hadolint ignore=DL3008,SC2086 # the release of the base image is the pin; no options, or several
RUN if [ -n "$EXECUTABLE" ]; then mkdir -p dist; [ "$EXECUTABLE" = dist/agent ] || cp "$EXECUTABLE" dist/agent; \
  else \
    apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git python3-pip \
    && rm -rf /var/lib/apt/lists/* \
    && scripts/compile ${COMPILE_OPTIONS}; \
  fi

# hadolint ignore=DL3006
FROM ${BASE}
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="agent" \
  org.opencontainers.image.description="Private CA, task execution over mutual TLS and an HTTPS mesh for a group of hosts" \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"
# hadolint ignore=DL3008
RUN set -e; \
  if ! command -v tini >/dev/null; then \
    apt-get update; apt-get install -y --no-install-recommends tini; rm -rf /var/lib/apt/lists/*; \
  fi; \
  echo 'agent:x:10001:10001::/var/lib/agent:/bin/sh' >>/etc/passwd; \
  echo 'agent:x:10001:' >>/etc/group; \
  mkdir -p -m 0700 /etc/agent /var/lib/agent; \
  chown 10001:10001 /etc/agent /var/lib/agent
COPY --from=build /src/dist/agent /usr/local/bin/agent
# Configuration in /etc/agent, data in /var/lib/agent, as for root elsewhere.
ENV XDG_CONFIG_HOME=/etc XDG_STATE_HOME=/var/lib
VOLUME ["/etc/agent", "/var/lib/agent"]
USER 10001:10001
WORKDIR /var/lib/agent
EXPOSE 8765 50055
# The health port of a node; AGENT_HEALTH_PORT for another role: 8091 coordinator, 8092 worker.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/${AGENT_HEALTH_PORT:-8093} && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
# tini reaps what tasks leave behind and passes signals on.
ENTRYPOINT ["tini", "--", "agent", "entrypoint"]
CMD ["node", "-H", "0.0.0.0"]
