"""The no-op model for MLServer, which `benchmarks/oip.py` runs where there is one."""

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Noop(MLModel):
    """Answers 0 for every row."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One number for each row of the first input."""
        count = payload.inputs[0].shape[0]
        output = ResponseOutput(name="output", datatype="FP64", shape=[count], data=[0.0] * count)
        return InferenceResponse(model_name=self.name, outputs=[output])
