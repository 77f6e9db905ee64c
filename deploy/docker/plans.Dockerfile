# Compiles TensorRT plans where Triton will run them: `docker buildx bake plans`.
# It is Triton's own image, so that plans are compiled by the TensorRT that runs them, with the
# model builder beside; large, and started by a Job alone.
ARG TRITON_VERSION=26.07

FROM nvcr.io/nvidia/tritonserver:${TRITON_VERSION}-py3
ARG EXTRAS=builder,embedded,precision,s3,signing
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY protos/pyproject.toml protos/pyproject.toml
COPY protos/gen protos/gen
COPY gateway gateway
COPY model_builder model_builder
COPY triton_models triton_models
RUN python3 -m venv /opt/trident \
    && /opt/trident/bin/pip install --no-cache-dir --disable-pip-version-check --no-compile \
         --constraint requirements.lock ./protos ".[${EXTRAS}]"
ENV PATH=/opt/trident/bin:/usr/src/tensorrt/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 1000:1000
WORKDIR /tmp
ENTRYPOINT ["model-builder"]
CMD ["compile", "--help"]
