"""The obvious program for many cameras, to compare with: one thread a stream, OpenCV, the detector on whole frames.

The same weights and runtime, one interpreter with one thread for each stream. Prints one line of JSON.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

SCORE = 0.4


def naive(
    clips: Annotated[list[Path], typer.Argument(help="Video files, each played in a loop in real time.")],
    fps: Annotated[float, typer.Option(min=0, help="Frames looked at a second of video; 0: every frame.")] = 0.0,
    settle: Annotated[float, typer.Option(help="Seconds before it is measured.")] = 5.0,
    watch: Annotated[float, typer.Option(help="Seconds that are measured.")] = 10.0,
) -> None:
    """Detect objects in several videos at once."""
    began = time.monotonic()
    start, end = began + settle, began + settle + watch
    looked = [0] * len(clips)
    late: list[float] = []
    threads = [
        threading.Thread(target=_stream, args=(clip, n, fps, start, end, looked, late)) for n, clip in enumerate(clips)
    ]
    for thread in threads:
        thread.start()
    time.sleep(max(0.0, start - time.monotonic()))
    cpu = time.process_time()
    for thread in threads:
        thread.join()
    cpus = (time.process_time() - cpu) / watch
    late.sort()
    p95 = late[int(0.95 * (len(late) - 1))] if late else 1e9
    print(json.dumps({"fps": [n / watch for n in looked], "late_p95_s": p95, "cpus": cpus}))


def _stream(
    clip: Path, number: int, fps: float, start: float, end: float, looked: list[int], late: list[float]
) -> None:
    detect = _detector()
    capture = cv2.VideoCapture(str(clip))
    rate = capture.get(cv2.CAP_PROP_FPS) or 30.0
    began, index, wanted = time.monotonic(), 0, 0.0
    while (now := time.monotonic()) < end:
        there, bgr = capture.read()
        if not there:
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            continue
        due = began + index / rate
        index += 1
        if due > now:
            time.sleep(due - now)
        if fps and (index - 1) / rate < wanted - 1e-6:
            continue
        wanted += 1 / fps if fps else 0.0
        detect(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
        if start <= (now := time.monotonic()) < end:
            looked[number] += 1
            late.append(now - due)


def _detector() -> Any:
    from ai_edge_litert.interpreter import Interpreter

    from streamcap.models.efficientdet import anchors, decode, letterbox, non_maximum
    from streamcap.models.resolver import ensure

    interpreter = Interpreter(str(ensure("efficientdet-lite0")), num_threads=1)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]["index"]
    outputs = {int(d["shape"][-1]): d["index"] for d in interpreter.get_output_details()}
    anchor = anchors()

    def detect(picture: np.ndarray[Any, np.dtype[np.uint8]]) -> int:
        square, _ = letterbox(picture)
        interpreter.set_tensor(given, square[None])
        interpreter.invoke()
        best = interpreter.get_tensor(outputs[90])[0].max(axis=1)
        sure = np.flatnonzero(best >= SCORE)
        boxes = decode(interpreter.get_tensor(outputs[4])[0][sure], anchor[sure])
        return len(non_maximum(boxes, best[sure]))

    return detect


if __name__ == "__main__":
    typer.run(naive)
