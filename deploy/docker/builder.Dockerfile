# The model builder: `docker buildx bake builder` (docker-bake.json has the versions).
# It has torch and, to prove what it builds, the embedded Triton; so it is large.
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim-bookworm AS build
ARG EXTRAS=builder,embedded,s3,signing,tracking
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY protos/pyproject.toml protos/pyproject.toml
COPY protos/gen protos/gen
COPY gateway gateway
COPY model_builder model_builder
COPY triton_models triton_models
RUN python -m venv /opt/trident \
    && /opt/trident/bin/pip install --no-cache-dir --disable-pip-version-check --no-compile \
         --constraint requirements.lock ./protos ".[${EXTRAS}]"

FROM python:${PYTHON_VERSION}-slim-bookworm AS builder
ENV PATH=/opt/trident/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/trident /opt/trident
RUN useradd --uid 1000 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin trident
USER 1000:1000
WORKDIR /tmp
ENTRYPOINT ["model-builder"]
CMD ["--help"]
