# The gateway: `docker buildx bake gateway` (docker-bake.json has the versions).
# Two stages: what builds stays behind, and the image has neither a compiler nor pip's packages, nor
# packages' own tests, nor the hub's client, which tokenizers needs only to fetch what a release carries,
# nor what botocore knows of services other than S3 and those that sign in to it.
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim-bookworm AS build
# s3: stores in buckets; signing: signed releases. With `envoy` added it takes calls faster and is
# about 120 MB larger, above the 250 MB that this image keeps to.
ARG EXTRAS=s3,signing
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY protos/pyproject.toml protos/pyproject.toml
COPY protos/gen protos/gen
COPY gateway gateway
COPY model_builder model_builder
COPY triton_models triton_models
RUN python -m venv /opt/trident \
    && /opt/trident/bin/pip install --no-cache-dir --disable-pip-version-check --no-compile \
         --constraint requirements.lock ./protos ".[${EXTRAS}]" \
    && /opt/trident/bin/pip uninstall --yes --quiet huggingface_hub hf-xet setuptools pip \
    && find /opt/trident/lib -type d "(" -name tests -o -name test_files ")" -prune -exec rm -rf {} + \
    && find /opt/trident/lib -path "*/botocore/data/*" -prune -type d \
         ! -name s3 ! -name sts ! -name "sso*" ! -name signin -exec rm -rf {} +

FROM python:${PYTHON_VERSION}-slim-bookworm AS gateway
ENV PATH=/opt/trident/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/trident /opt/trident
RUN useradd --uid 1000 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin trident
USER 1000:1000
WORKDIR /tmp
EXPOSE 50051 9464
# Kubernetes has probes of its own; this is for `docker run`. It asks beside the metrics, where neither TLS
# nor credentials are needed.
ENV TRIDENT_METRICS_LISTEN=127.0.0.1:9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['TRIDENT_METRICS_LISTEN'].rpartition(':')[2] + '/livez', timeout=4)"]
ENTRYPOINT ["gateway"]
# Whoever publishes the port says how it is protected: by certificates, or, where something else does it, by
# TRIDENT_INSECURE=true. Without either it does not start.
CMD ["serve", "--listen", "0.0.0.0:50051"]
