"""The messages of ``tritonclient`` under the name that they give as their module.

Ray pickles them between its processes, by module and name; ``tritonclient`` has moved the module.
"""

from tritonclient.grpc.service_pb2 import ModelInferRequest, ModelInferResponse

__all__ = ["ModelInferRequest", "ModelInferResponse"]
