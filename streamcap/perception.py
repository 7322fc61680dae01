"""The perception lane of one stream: a frame in, facts and instances out. Blocking, so it runs in a worker thread.

Cheapest first: gate → camera → foreground → where to look → detect → track → pose → facts; a feature for the memory
on key frames.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.camera import CameraReading, CameraWatch
from streamcap.carrying import SOUGHT, Carrying
from streamcap.closeups import Found, agreed, fills, from_afar, step_back
from streamcap.colours import balance, shares
from streamcap.egomotion import ForwardMotion
from streamcap.facts import FactEngine, Scene
from streamcap.foreground import Foreground
from streamcap.gating import BlockGate, GateReading, luma
from streamcap.geometry import area, contained, touches
from streamcap.health import HealthWatch
from streamcap.instances import Observed, Stage, Tracker, TrackerUpdate
from streamcap.labels import MOVERS
from streamcap.memory import Memory
from streamcap.metrics import Stages
from streamcap.models.base import Detector, Encoder, PoseEstimator
from streamcap.nearness import CloseUp, NearnessWatch
from streamcap.posing import PoseStage
from streamcap.regions import Look, TileWalk, plan, tiles
from streamcap.setting import SettingWatch
from streamcap.stationary import PlaceChange, StationaryWatch
from streamcap.types import Box, Detections, Frame, KeyFrame, Observation

__all__ = ["Perception"]

# Least score that is looked at; the tracker has its own two limits above it.
THRESHOLD = 0.22
# A track that a detection of this score has named is known.
NAMED = 0.45
# Crops a frame: while something moves, and for the walk over the frame.
BUDGET = 2
# Seconds between two steps of the walk over the frame, while something moves and while nothing does.
WALK_BUSY_S = 0.6
WALK_QUIET_S = 2.0
# A quiet track is looked at again after this many seconds.
REVISIT_S = 3.0
# A source that was away for longer than this (seconds) has missed something: the scene is looked at anew.
HOLE_S = 2.0
# The first frames of a scene see every tile.
START_FRAMES = 4
# Key frames (media seconds between two): when the tracker or the camera has news, while something moves, and when
# nothing happens. Two seconds are ShareGPT4Video's step (arXiv:2406.04325); each costs 50 ms of one core.
KEEP_NEWS_S = 2.0
KEEP_BUSY_S = 4.0
KEEP_QUIET_S = 60.0
# On a machine that cannot keep up, so many times longer.
FRUGAL = 4.0
KEY_FRAME_WIDTH = 320
# Where something came or went the detector looks for so long (seconds).
CURIOUS_S = 1.2
# Whose place is not judged: who was seen within this time (seconds). Of who was found late (share of the box in motion
# at birth), or in the first frames of a scene, the reference may show the person.
HELD_S = 0.8
FOUND_LATE = 0.12
SETTLING = 8
JPEG_QUALITY = 80
# Share of a new white balance that is taken over at each look.
BALANCE_STEP = 0.05
# Third gate: a frame this like the last key frame is no new key frame (ShareGPT4Video's limit on CLIP features).
KEY_SIMILARITY = 0.93
# A detection cut by its crop's border shows a part of the object.
CROP_MARGIN = 0.015
# Two detections of which one covers this much of the other are one object.
SAME = 0.75


class Perception:
    """Watches one stream. State is bounded: two grey pictures, the tracks in view, the two memories.

    Args:
        detector: shared by all streams.
        encoder: shared; without one the memory stays empty.
        workers: where crops are detected side by side and features computed; owned by the caller.
        stages: where time is counted.
        pose: shared; without one nothing is told of how people hold themselves.

    Attributes:
        frugal: keep fewer key frames; may be set from another thread.
    """

    def __init__(
        self,
        detector: Detector,
        encoder: Encoder | None,
        workers: Executor,
        stages: Stages,
        pose: PoseEstimator | None = None,
    ) -> None:
        self._detector, self._encoder, self._workers, self._stages = detector, encoder, workers, stages
        self.memory = Memory()
        self.frugal = False
        self._gate = BlockGate()
        self._camera = CameraWatch()
        self._forward = ForwardMotion()
        self._health = HealthWatch()
        self._setting = SettingWatch()
        self._nearness = NearnessWatch()
        self._foreground = Foreground()
        self._stationary = StationaryWatch()
        self._curious: dict[Box, float] = {}
        self._tracker = Tracker()
        self._carrying = Carrying()
        self._poses = PoseStage(pose, workers) if pose is not None else None
        self._facts = FactEngine()
        self._walk = TileWalk()
        self._gains: NDArray[np.float32] | None = None
        self._scene_start = 0.0
        self._last: tuple[int, float] | None = None  # connection and pts of the frame before
        self._frames = 0
        self._walked = 0.0
        self._encoding: tuple[Future[NDArray[np.float32]], KeyFrame] | None = None
        self._kept_at = -KEEP_QUIET_S

    def observe(self, frame: Frame) -> Observation:
        """Take in the next frame of the stream.

        Raises:
            ModelError: the detector, the pose estimator or the encoder failed.
        """
        with self._stages("gate"):
            grey = luma(frame.image)
            if self._is_after_hole(frame):
                self._resume(grey, frame.pts)
            gate = self._gate.update(grey, frame.pts)
        with self._stages("camera"):
            camera = self._camera.update(grey, frame.pts, gate.changed)
            driving = self._forward.update(grey, frame.pts, gate.changed)
            if self._forward.suspected:  # no one transform describes that, but pixels say nothing of instances either
                camera = replace(camera, moving=True)
        with self._stages("health"):
            health = self._health.update(grey, frame.pts, moving=camera.moving, cut=camera.cut)
        scene_start = self._frames == 0 or camera.cut
        if scene_start:
            self._scene_start, self._frames = frame.pts, 0
            if camera.cut:
                self._tracker.reset()
            self._facts = FactEngine()  # who was there in the scene before is no more
            self._foreground.reset()
            self._nearness.reset()
            self._stationary.reset()
            self._curious.clear()
            self._walk.restart()
            self._forward.reset()
        self._frames += 1
        update = self._follow(frame, grey, gate, camera)

        def stir(box: Box) -> float:
            return _share(gate.changed, box) if gate.open else 0.0

        if self._poses is not None:
            with self._stages("pose"):
                self._poses.look(frame, update.active, stir)
        with self._stages("stationary"):
            places = self._places(grey, gate, camera, frame.pts)
        scene = Scene(
            frame.pts,
            frame.pts - self._scene_start,
            update,
            camera,
            tuple(t for t in self._tracker.tracks if t.stage is Stage.LOST),
            frame.image.shape[1] / frame.image.shape[0],
            health=health,
            driving=driving,
            places=places,
            stir=stir,
            close=self._close(frame, grey, camera),
        )
        with self._stages("facts"):
            facts = self._facts.update(scene)
        news = bool(scene_start or facts or update.confirmed or update.ended)
        pause = KEEP_NEWS_S if news else KEEP_BUSY_S if gate.open else KEEP_QUIET_S
        key_frame = self._remember(frame, pause * FRUGAL if self.frugal else pause)
        # Those that ended with this frame are still spoken of.
        instances = tuple(t.instance() for t in (*self._tracker.tracks, *update.ended) if t.id)
        with self._stages("setting"):
            setting = self._setting.update(
                frame.image, frame.pts, instances, moving=camera.moving, scene_start=scene_start
            )
        return Observation(
            frame.pts,
            frame.captured_at,
            gate.open,
            scene_start,
            not scene.settling,
            tuple(facts),
            instances,
            key_frame,
            health,
            setting,
        )

    def _is_after_hole(self, frame: Frame) -> bool:
        before, self._last = self._last, (frame.connection, frame.pts)
        return before is not None and before[0] != frame.connection and frame.pts - before[1] > HOLE_S

    def _resume(self, grey: NDArray[np.uint8], pts: float) -> None:
        """The source is back: a new look round; who is still there keeps its id, unless it is another place."""
        if self._camera.resume(grey):
            self._tracker.resume(pts)
        else:
            self._tracker.reset()
        self._gate = BlockGate()  # another exposure, another encoder: the noise is not what it was
        self._frames = 0  # a scene start: what happened meanwhile is not known, so nothing can be told as a change

    def close(self) -> None:
        """Wait for a feature that is being computed, so that it ends with its stream."""
        self._collect(wait=True)

    def _follow(self, frame: Frame, grey: NDArray[np.uint8], gate: GateReading, camera: CameraReading) -> TrackerUpdate:
        with self._stages("foreground"):
            blobs = self._blobs(grey, gate, camera)
        looks = self._looks(frame, gate, blobs)
        h, w = frame.image.shape[:2]
        near = self._carrying.next(self._tracker.tracks, (w, h), frame.pts, len(looks))
        seen: list[Observed] = []
        if looks or near is not None:
            with self._stages("detect"):
                seen = self._carrying.sort(self._detect(frame.image, looks, near), self._tracker.tracks)
        seen += [Observed(b, 0.0, "", None, self._foreground.cover(b)) for b in blobs]
        with self._stages("track"):
            update = self._tracker.update(
                seen,
                looks,
                camera.transform,
                frame.pts,
                changed=lambda box: _share(gate.changed, box) if gate.open else 0.0,
                cover=self._foreground.cover,
            )
            self._carrying.settle(update.active, w / h, frame.pts)
            return update

    def _close(self, frame: Frame, grey: NDArray[np.uint8], camera: CameraReading) -> CloseUp | None:
        """What comes before the lens and is nothing that the detector knows well."""
        if camera.moving:
            self._nearness.reset()
            return None
        tracks = (t for t in self._tracker.tracks if t.stage is not Stage.LOST and t.label in MOVERS)
        known = [t.box for t in tracks if t.best >= NAMED]
        with self._stages("nearness"):
            return self._nearness.update(grey, frame.image, frame.pts, known)

    def _blobs(self, grey: NDArray[np.uint8], gate: GateReading, camera: CameraReading) -> list[Box]:
        if camera.moving:
            self._foreground.reset()
            return []
        return self._foreground.update(grey) if gate.open else []

    def _places(
        self, grey: NDArray[np.uint8], gate: GateReading, camera: CameraReading, pts: float
    ) -> tuple[PlaceChange, ...]:
        """Places that look lastingly other, which the detector is to look at for a while."""
        if camera.moving:
            self._stationary.reset()
            return ()
        movers = [t for t in self._tracker.tracks if t.id and t.label in MOVERS and pts - t.seen < HELD_S]
        standing = [t for t in self._tracker.tracks if t.id and t.label in MOVERS and t.stage is Stage.ACTIVE]
        late = [t for t in movers if t.confirmed == pts and (t.start_motion < FOUND_LATE or self._frames < SETTLING)]
        found = self._stationary.update(
            grey, pts, gate.changed, [t.box for t in {*movers, *standing}], [t.box for t in late]
        )
        self._curious |= {place.box: pts for place in found}
        self._curious = {box: since for box, since in self._curious.items() if pts - since <= CURIOUS_S}
        return tuple(found)

    def _looks(self, frame: Frame, gate: GateReading, blobs: Sequence[Box]) -> list[Box]:
        """Crops for this frame: what moves, who is followed, and the walk over the frame."""
        size = (frame.image.shape[1], frame.image.shape[0])
        if self._frames <= START_FRAMES:
            every = tiles(size)
            half = (len(every) + 1) // 2
            return every if self._frames == 1 else every[:half] if self._frames % 2 else every[half - 1 :]
        tracks = self._tracker.tracks
        wishes = [Look(b, 2.0 + area(b)) for b in blobs if not any(contained(b, t.box) > 0.6 for t in tracks if t.id)]
        for track in tracks:
            waited = frame.pts - track.looked
            moving = gate.open and (_share(gate.changed, track.box) > 0.1 or track.speed(1.0) > 0.1)
            if moving or track.stage is Stage.TENTATIVE:
                wishes.append(Look(track.box, 1.0 + 3.0 * waited, closer=track.misses % 2 == 1))
            elif waited > REVISIT_S:
                wishes.append(Look(track.box, waited / REVISIT_S, closer=track.misses % 2 == 1))
        wishes += [Look(box, 4.0) for box in self._curious]
        wishes = [look for look in wishes if area(look.box) > 0]
        crops = plan(wishes, size, BUDGET)
        pause = WALK_BUSY_S if gate.open else WALK_QUIET_S
        if frame.pts - self._walked >= pause:
            self._walked = frame.pts
            crops.append(self._walk.next(size))
        return crops

    def _detect(self, image: NDArray[np.uint8], usual: Sequence[Box], near: Box | None = None) -> list[Observed]:
        """What is in the usual crops, and which small things in one from close by."""
        h, w = image.shape[:2]
        looks = usual if near is None else [*usual, near]
        parts = [image[int(y0 * h) : int(y1 * h), int(x0 * w) : int(x1 * w)] for x0, y0, x1, y1 in looks]
        found, cpu = self._detect_all(parts)
        self._stages.work("detect", cpu)
        labels = self._detector.labels
        raw: list[Found] = []
        for i, ((x0, y0, x1, y1), detections) in enumerate(zip(looks, found, strict=True)):
            for box, label, score in zip(
                detections.boxes.tolist(), detections.labels.tolist(), detections.scores.tolist(), strict=True
            ):
                if _cut_off(box, (x0, y0, x1, y1)) or (i == len(usual) and labels[label] not in SOUGHT):
                    continue
                a, b, c, d = box
                sx, sy = x1 - x0, y1 - y0
                raw.append((score, labels[label], (x0 + a * sx, y0 + b * sy, x0 + c * sx, y0 + d * sy)))
        if any(fills(box) for _, _, box in raw) or any(fills(t.box) for t in self._tracker.tracks):
            raw = agreed(raw, self._from_afar(image))
        kept = distinct([f for f in raw if f[0] >= THRESHOLD])
        gains, own = self._balance(image), self._foreground.mask
        return [Observed(b, s, lab, shares(image, b, gains, own), self._foreground.cover(b)) for s, lab, b in kept]

    def _detect_all(self, parts: Sequence[NDArray[np.uint8]]) -> tuple[list[Detections], float]:
        """What is in each crop, side by side; and the worker threads' processor seconds, 0 where they are not taken."""
        spent: list[float] = []

        def look(part: NDArray[np.uint8]) -> Detections:
            began = time.thread_time() if timed else 0.0
            found = self._detector.detect(part, threshold=THRESHOLD)
            if timed:
                spent.append(time.thread_time() - began)
            return found

        timed = self._stages.sampled("detect")
        return list(self._workers.map(look, parts)), sum(spent)

    def _from_afar(self, image: NDArray[np.uint8]) -> list[Found]:
        """A second opinion on what fills the frame."""
        seen = self._detector.detect(step_back(image), threshold=THRESHOLD)
        names = [self._detector.labels[label] for label in seen.labels.tolist()]
        boxes = [from_afar(box) for box in seen.boxes.tolist()]
        return list(zip(seen.scores.tolist(), names, boxes, strict=True))

    def _balance(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """White balance of the stream, followed slowly: a red lorry that fills the picture is no colour cast."""
        now = balance(cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA))
        self._gains = now if self._gains is None else self._gains + BALANCE_STEP * (now - self._gains)
        return self._gains

    def _remember(self, frame: Frame, pause: float) -> KeyFrame | None:
        """Keep a small copy of the frame if ``pause`` seconds have gone, and have its feature computed."""
        self._collect(wait=False)
        if self._encoding is not None or frame.pts - self._kept_at < pause:
            return None
        self._kept_at = frame.pts
        h, w = frame.image.shape[:2]
        size = (KEY_FRAME_WIDTH, max(1, h * KEY_FRAME_WIDTH // w))
        small = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
        # A tenth of the raw picture: a full memory then holds 3 MB of them and not 45.
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
        key = KeyFrame(frame.pts, jpeg.tobytes())
        if self._encoder is not None:
            self._encoding = (self._workers.submit(self._encode, self._encoder, frame.image), key)
        return key

    def _encode(self, encoder: Encoder, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        with self._stages("encode"):
            return np.asarray(encoder.encode([image])[0], np.float32)

    def _collect(self, *, wait: bool) -> None:
        if self._encoding is None or not (wait or self._encoding[0].done()):
            return
        future, key = self._encoding
        self._encoding = None
        feature = future.result()
        alike = self.memory.similarity(feature) >= KEY_SIMILARITY
        self.memory.add(feature, key.t, KeyFrame(key.t) if alike else key)


def distinct(found: Sequence[tuple[float, str, Box]]) -> list[tuple[float, str, Box]]:
    """Leave out what a better detection, from whichever crop, already covers; best first."""
    kept: list[tuple[float, str, Box]] = []
    for item in sorted(found, key=lambda x: -x[0]):
        box = item[2]
        if not any(_same(box, other, item[1] == label) for _, label, other in kept):
            kept.append(item)
    return kept


def _same(a: Box, b: Box, same_label: bool) -> bool:
    inside = max(contained(a, b), contained(b, a))
    ratio = min(area(a), area(b)) / max(area(a), area(b), 1e-9)
    # A bag on a person is inside the person and much smaller; a second box on the person is not.
    return inside > SAME and (ratio > 0.4 or same_label)


def _cut_off(box: Sequence[float], crop: Box) -> bool:
    """A detection (in 0..1 of its crop) ends at a border of the crop that is not a border of the frame."""
    sides = touches((box[0], box[1], box[2], box[3]), CROP_MARGIN)
    frame_sides = touches(crop, 1e-6)
    return bool(sides - frame_sides)


def _share(changed: NDArray[np.bool_], box: Box) -> float:
    """Share of the blocks of a box that changed, 0..1."""
    rows, columns = changed.shape
    part = changed[
        max(0, int(box[1] * rows)) : max(0, int(np.ceil(box[3] * rows))),
        max(0, int(box[0] * columns)) : max(0, int(np.ceil(box[2] * columns))),
    ]
    return float(part.mean()) if part.size else 0.0
