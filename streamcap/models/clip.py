"""CLIP ViT-B/16 image encoder (int8, 224×224) through ONNX Runtime.

The graph is the vision tower of "Learning Transferable Visual Models From Natural Language Supervision"
(Radford et al., arXiv:2103.00020); preprocessing follows its published constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.errors import ModelError, ModelLoadError
from streamcap.models.base import Image

__all__ = ["ClipEncoder", "preprocess"]

SIZE = 224
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def preprocess(image: Image) -> NDArray[np.float32]:
    """Shorter side to 224, centre crop, normalise.

    Args:
        image: (height, width, 3) uint8 RGB.

    Returns:
        (3, 224, 224) float32.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = cv2.resize(image[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    scaled = (square.astype(np.float32) / 255 - MEAN) / STD
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


class ClipEncoder:
    """The embedded default encoder: 512 numbers a picture, about 50 ms on one core.

    Args:
        path: the ``.onnx`` file.
        threads: threads inside one call. One is the robust choice on a shared machine.

    Raises:
        ModelLoadError: the file or the runtime does not load.
    """

    dim = 512

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise ModelLoadError("ONNX Runtime is not installed", hint="pip install 'streamcap[cpu]'") from error
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # The arena grows to the largest batch and never shrinks; one picture at a time does not need it.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes without a common base
            raise ModelLoadError(f"cannot load the encoder {path.name}: {error}") from error
        self._input = self._session.get_inputs()[0].name

    def encode(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """See :class:`streamcap.models.base.Encoder`."""
        if not images:
            return np.empty((0, self.dim), np.float32)
        batch = np.stack([preprocess(image) for image in images])
        try:
            features = np.asarray(self._session.run(["image_embeds"], {self._input: batch})[0], np.float32)
        except Exception as error:  # as above
            raise ModelError(f"the encoder failed: {error}") from error
        return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True), np.float32)
