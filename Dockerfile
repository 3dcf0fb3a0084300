# Two images: `argus` (control plane) and `argus-runtime` (session pods). Both run as any user id with a read-only root.
#   docker build --target argus -t argus .
#   docker build --target argus-runtime -t argus-runtime .
# Without a registry `npm run images` builds this same file on a base of its own (docs/images.md).
ARG BASE=docker.io/library/debian:bookworm-slim

# Everything that the images copy, under /out.
FROM ${BASE} AS build
WORKDIR /src
COPY . .
# Another version number than package.json's.
ARG VERSION=
RUN sh scripts/images/assemble.sh /out "$VERSION"

FROM ${BASE} AS argus
ARG PACKAGES="ca-certificates libstdc++6"
RUN dpkg -s $PACKAGES >/dev/null 2>&1 || { apt-get update && apt-get install -y --no-install-recommends $PACKAGES && rm -rf /var/lib/apt/lists/*; }
COPY --from=build /out/bin /usr/local/bin
COPY --from=build /out/argus /usr/local/lib/argus
WORKDIR /
USER 65532:65532
ENTRYPOINT ["argus"]
CMD ["--help"]

FROM argus AS argus-runtime
USER 0:0
ARG RUNTIME_PACKAGES="bash ca-certificates curl git libstdc++6 procps python3-minimal tini"
RUN dpkg -s $RUNTIME_PACKAGES >/dev/null 2>&1 || { apt-get update && apt-get install -y --no-install-recommends $RUNTIME_PACKAGES && rm -rf /var/lib/apt/lists/*; }
COPY --from=build /out/codex /usr/local/lib/codex
# Whichever user id a pod runs as: /root must be passable for the old path of the workspace.
RUN ln -s /usr/local/lib/codex/bin/codex /usr/local/lib/codex/codex-path/rg /usr/local/bin/ \
  && mkdir -p /root/.argus /home/argus && ln -s /home/argus/workspace /root/.argus/workspace && chmod 0755 /root /root/.argus
ENV HOME=/home/argus
USER 65532:65532
CMD ["bridge"]
