"""The runtime that ``serve.py`` has MLServer load."""

from __future__ import annotations

import numpy as np
from fused_model import FusedModel, raw
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput

_DATATYPES = {"f": "FP32", "i": "INT32", "b": "BOOL", "O": "BYTES"}


class ServedModel(MLModel):
    """The model behind MLServer."""

    async def load(self) -> bool:
        """Load the model."""
        parameters = self.settings.parameters
        self._model = FusedModel(parameters.uri, parameters.outputs.split(","))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run a batch."""
        inputs = {one.name: self._array(one) for one in payload.inputs}
        outputs = [
            ResponseOutput(
                name=name,
                shape=list(array.shape),
                datatype=_DATATYPES[array.dtype.kind],
                data=raw(array).ravel().tolist(),
            )
            for name, array in self._model.run(inputs).items()
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)

    def _array(self, one: RequestInput) -> np.ndarray:
        data = getattr(one.data, "root", one.data)
        dtype = self._model.inputs[one.name]
        if dtype is np.object_:
            data = [item.decode() if isinstance(item, bytes) else item for item in data]
        return np.array(data, dtype).reshape(one.shape)
