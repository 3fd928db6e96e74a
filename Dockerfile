# Tunebook on Axolotl's published image, whose environment is completed and not doubled. `make image` builds it,
# `make image CPU=1` a slim one on Debian's Python for trying it without a GPU. No secret is needed to build, and
# no network to run what needs no download.
# Bases by tag, here, in the Makefile and in compose.yaml, and not by digest: none has been pulled here yet.
# docs/container.md says how to pin what was pulled.
ARG BASE_IMAGE=axolotlai/axolotl-uv:0.21.0
# hadolint ignore=DL3006
FROM ${BASE_IMAGE}

# Where the base keeps its virtual environment, and the build of torch to take where the base has none.
ARG VENV=/workspace/axolotl-venv
ARG TORCH_BACKEND=cu130

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# hadolint ignore=DL3002
USER 0:0
# hadolint ignore=DL3008
RUN if ! command -v make >/dev/null || ! command -v git >/dev/null; then \
        apt-get update \
        && apt-get install -y --no-install-recommends ca-certificates git make \
        && rm -rf /var/lib/apt/lists/*; \
    fi \
    && if ! getent passwd 1000 >/dev/null; then \
        useradd --uid 1000 --create-home --shell /bin/bash tunebook; \
    fi \
    && install -d -o 1000 -g 1000 /work \
    && if [ ! -d "$VENV" ]; then install -d -o 1000 -g 1000 "$VENV"; fi \
    && install -d -o 1000 -g 1000 -m 0777 /data /data/runs /data/huggingface /opt/tunebook

# TUNEBOOK_CACHE holds the trial tier's base model and is part of the image; what grows is on the volume.
ENV VENV=${VENV} \
    PATH=${VENV}/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    TUNEBOOK_CACHE=/opt/tunebook \
    TUNEBOOK_RUNS=/data/runs \
    HF_HOME=/data/huggingface

USER 1000:1000
WORKDIR /work

# The environment: built again only when the lock changes.
COPY --chown=1000:1000 Makefile pyproject.toml requirements.lock README.md ./
COPY --chown=1000:1000 scripts/set_up.sh scripts/set_up.sh
COPY --chown=1000:1000 tunebook/__init__.py tunebook/__init__.py
RUN --mount=type=cache,target=/tmp/uv,uid=1000,gid=1000,mode=0777 \
    UV_CACHE_DIR=/tmp/uv UV_LINK_MODE=copy UV_TORCH_BACKEND="$TORCH_BACKEND" make setup

# The trial tier's base model, converted once.
COPY --chown=1000:1000 tunebook/core/ tunebook/core/
COPY --chown=1000:1000 tunebook/models/__init__.py tunebook/models/lanes.py tunebook/models/trial_model.py tunebook/models/
RUN --mount=type=cache,target=/tmp/uv,uid=1000,gid=1000,mode=0777 \
    UV_CACHE_DIR=/tmp/uv UV_LINK_MODE=copy python -c "from tunebook.models.trial_model import ensure; ensure()" \
    && chmod -R a+rwX /opt/tunebook

COPY --chown=1000:1000 . .
# make compares ages: what was copied now is not newer than the environment.
RUN touch "$VENV/.tunebook-installed"

ARG REVISION=unknown
ENV TUNEBOOK_COMMIT=${REVISION}
LABEL org.opencontainers.image.title="Tunebook" \
      org.opencontainers.image.description="Fine-tuning recipes on Axolotl, each evaluated against its own base model" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
VOLUME ["/data"]
HEALTHCHECK --interval=5m --timeout=30s --start-period=30s --retries=3 CMD ["tunebook", "recipes"]
# The base's entry point stays: it sets CUDA up.
CMD ["tunebook", "--help"]
