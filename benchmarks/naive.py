"""The obvious program, to compare with: OpenCV reads, the detector looks at each whole frame; no gates, no tracks.

It has the same weights, the same runtime with a thread for each core, and the same decoding of what the network says.
Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

SCORE = 0.4


def naive(
    clip: Annotated[Path, typer.Argument(help="Video file.")],
    fps: Annotated[float, typer.Option(min=0, help="Frames looked at a second of video; 0: every frame.")] = 0.0,
    end: Annotated[float | None, typer.Option("--to", min=0, help="End here, seconds.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the detector.")] = os.cpu_count() or 1,
) -> None:
    """Detect objects in a video, frame by frame."""
    from ai_edge_litert.interpreter import Interpreter

    from streamcap.models.efficientdet import anchors, decode, letterbox, non_maximum
    from streamcap.models.resolver import ensure

    interpreter = Interpreter(str(ensure("efficientdet-lite0")), num_threads=threads)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]["index"]
    outputs = {int(d["shape"][-1]): d["index"] for d in interpreter.get_output_details()}
    anchor = anchors()
    capture = cv2.VideoCapture(str(clip))
    if not capture.isOpened():
        raise typer.BadParameter(f"OpenCV cannot read {clip.name}")
    rate = capture.get(cv2.CAP_PROP_FPS)
    began = time.perf_counter()
    read = looked = people = 0
    wanted = 0.0
    while True:
        if end is not None and read / rate >= end:
            break
        there, bgr = capture.read()
        if not there:
            break
        read += 1
        if fps and (read - 1) / rate < wanted - 1e-6:
            continue
        wanted += 1 / fps if fps else 0
        square, _ = letterbox(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
        interpreter.set_tensor(given, square[None])
        interpreter.invoke()
        scores = interpreter.get_tensor(outputs[90])[0]
        best = scores.max(axis=1)
        sure = np.flatnonzero(best >= SCORE)
        boxes = decode(interpreter.get_tensor(outputs[4])[0][sure], anchor[sure])
        chosen = non_maximum(boxes, best[sure])
        people += int((scores[sure][chosen].argmax(axis=1) == 0).sum())
        looked += 1
    seconds = time.perf_counter() - began
    print(json.dumps({"media_s": read / rate, "seconds": seconds, "frames": looked, "people": people / max(looked, 1)}))


if __name__ == "__main__":
    typer.run(naive)
