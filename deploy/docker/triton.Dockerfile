# Triton for releases: `docker buildx bake triton` (docker-bake.json has the version).
# NVIDIA's image has the backends that releases name (onnxruntime, tensorrt, python) and trtexec.
# Ours, `onnxruntime` on the Python backend, is for a Triton that lacks the native one: it lies
# beside, under /opt/trident/backends, and is used with --backend-directory only.
ARG TRITON_VERSION=26.07

FROM nvcr.io/nvidia/tritonserver:${TRITON_VERSION}-py3
# What releases never name, so that no model in the store can ask for it.
RUN rm -rf /opt/tritonserver/backends/pytorch /opt/tritonserver/backends/dali \
      /opt/tritonserver/backends/fil /opt/tritonserver/backends/openvino
COPY triton_models/backends/onnxruntime /opt/trident/backends/onnxruntime
ENV PATH=/opt/tritonserver/bin:$PATH
USER 1000:1000
WORKDIR /tmp
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s \
    CMD ["curl", "--fail", "--silent", "http://127.0.0.1:8000/v2/health/live"]
ENTRYPOINT []
CMD ["tritonserver", "--model-repository=/trident/store/models", "--model-control-mode=explicit"]
