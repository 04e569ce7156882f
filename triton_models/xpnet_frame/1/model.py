"""Frames of any size in, masks of the frame's size out, for clients without preprocessing.

Input `frame`: H x W x 3, uint8, RGB. Output `mask`: H x W, uint8, 255 for polyp and 0 for
background. The parameter `model` of config.pbtxt names the model that runs the network; its size,
threshold and peak come from the card in that model's folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]  # in the stub

from xpnet.card import read_card
from xpnet.frames import frame_to_tensor, probabilities_to_mask
from xpnet.inference import check_probabilities
from xpnet.serving.backend_tensors import to_numpy, to_tensor


class TritonPythonModel:
    """The object that the Python backend calls; Triton defines the names of its methods."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the card of the model that runs the network."""
        parameters = json.loads(args["model_config"])["parameters"]
        self.model = parameters["model"]["string_value"]
        self.card = read_card(Path(args["model_repository"]).parent / self.model / "card.json")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Return one response for each request, in order."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            frame = np.asarray(to_numpy(pb_utils.get_input_tensor_by_name(request, "frame")))
            mask = self._segment(frame)
        # The client gets the error as its response; the model stays loaded
        except Exception as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"xpnet_frame: {error}"))
        return pb_utils.InferenceResponse(output_tensors=[to_tensor(pb_utils, "mask", mask)])

    def _segment(self, frame: np.ndarray) -> np.ndarray:
        tensor = frame_to_tensor(frame, self.card.input.height, self.card.input.width)
        answer = pb_utils.InferenceRequest(
            model_name=self.model,
            requested_output_names=[self.card.output.name],
            inputs=[to_tensor(pb_utils, self.card.input.name, tensor)],
        ).exec()
        if answer.has_error():
            raise RuntimeError(answer.error().message())
        output = pb_utils.get_output_tensor_by_name(answer, self.card.output.name)
        probabilities = check_probabilities(np.asarray(to_numpy(output))[0, 0])
        height, width = frame.shape[:2]
        threshold, peak = self.card.threshold, self.card.peak
        return probabilities_to_mask(probabilities, height, width, threshold, peak) * 255
