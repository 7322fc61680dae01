"""The perception lane of one stream: a frame in, facts and instances out. Blocking, so it runs in a worker thread.

The way of a frame, cheapest first::

    gate → camera → foreground → attention → detect → track → pose → facts → observation
                                              health   ╵      ╰ stationary, nearness  ╰ key frame, setting

``Perception.observe`` is that way, step by step; each step is a module of its own, and this one alone wires them.
Detector and pose estimator work in the threads of a :class:`Crew`; what stands below them is done meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from streamcap.attention import Attention
from streamcap.camera import CameraReading, CameraWatch
from streamcap.carrying import Carrying
from streamcap.crew import Crew
from streamcap.detecting import DetectStage
from streamcap.egomotion import ForwardMotion
from streamcap.facts import FactEngine, Scene
from streamcap.foreground import Foreground
from streamcap.gating import BlockGate, GateReading, luma
from streamcap.health import HealthWatch
from streamcap.instances import Observed, Stage, Tracker, TrackerUpdate
from streamcap.keyframes import KeyFrames
from streamcap.labels import MOVERS
from streamcap.memory import Memory
from streamcap.metrics import Stages
from streamcap.models.base import Detector, PoseEstimator
from streamcap.nearness import CloseUp, NearnessWatch
from streamcap.posing import PoseStage
from streamcap.setting import SettingWatch
from streamcap.stationary import PlaceChange, StationaryWatch
from streamcap.steadiness import SteadyWatch
from streamcap.types import Box, Frame, Health, Observation

__all__ = ["Perception"]

# A track that a detection of this score has named is known.
NAMED = 0.45
# A source that was away for longer than this (seconds) has missed something: the scene is looked at anew.
HOLE_S = 2.0
# Whose place is not judged: who was seen within this time (seconds). Of who was found late (share of the box in motion
# at birth), or in the first frames of a scene, the reference may show the person.
HELD_S = 0.8
FOUND_LATE = 0.12
SETTLING = 8

Grey = NDArray[np.uint8]


class Perception:
    """Watches one stream. State is bounded: some small pictures, the tracks in view, the two memories.

    Args:
        detector: shared by all streams.
        workers: where crops are detected side by side; owned by the caller.
        stages: where time is counted.
        pose: shared; without one nothing is told of how people hold themselves.
        features: the caller computes features of key frames and hands each to ``remember``, or says ``forget``, before
            there is another one; else the memory stays empty.
    """

    def __init__(
        self,
        detector: Detector,
        workers: Executor,
        stages: Stages,
        pose: PoseEstimator | None = None,
        *,
        features: bool = False,
    ) -> None:
        self._stages = stages
        crew = Crew(workers, stages)
        self._gate = BlockGate()
        self._camera = CameraWatch()
        self._forward = ForwardMotion()
        self._health = HealthWatch()
        self._foreground = Foreground()
        self._attention = Attention()
        self._detector = DetectStage(detector, crew)
        self._tracker = Tracker()
        self._carrying = Carrying()
        self._poses = PoseStage(pose, crew) if pose is not None else None
        self._stationary = StationaryWatch()
        self._nearness = NearnessWatch()
        self._facts = FactEngine()
        self._key_frames = KeyFrames(features=features)
        self._setting = SettingWatch()
        self._scene_start = 0.0
        self._steady = SteadyWatch()
        self._last: tuple[int, int, float] | None = None  # connection, round and pts of the frame before
        self._frames = 0  # of this scene

    @property
    def memory(self) -> Memory:
        """What was seen so far."""
        return self._key_frames.memory

    @property
    def frugal(self) -> bool:
        """Keep fewer key frames; may be set from another thread."""
        return self._key_frames.frugal

    @frugal.setter
    def frugal(self, frugal: bool) -> None:
        self._key_frames.frugal = frugal

    def observe(self, frame: Frame) -> Observation:
        """Take in the next frame of the stream.

        Raises:
            ModelError: the detector or the pose estimator failed.
        """
        grey, gate = self._gated(frame)
        camera, driving = self._moved(grey, gate, frame.pts)
        scene_start = self._frames == 0 or camera.cut
        if scene_start:
            self._begin_scene(frame.pts, cut=camera.cut)
        self._frames += 1
        update, health = self._follow(frame, grey, gate, camera)
        pose = self._poses.begin(frame, update.active, gate.share) if self._poses is not None else None
        places = self._places(grey, gate, camera, frame.pts)
        close = self._close(frame, grey, camera)
        if pose is not None:
            pose()
        lost = tuple(t for t in self._tracker.tracks if t.stage is Stage.LOST)
        scene = Scene(
            frame.pts,
            frame.pts - self._scene_start,
            update,
            camera,
            lost,
            frame.image.shape[1] / frame.image.shape[0],
            health=health,
            driving=driving,
            places=places,
            stir=gate.share,
            close=close,
            steady_since=self._steady.since,
            looks=self._frames,
        )
        with self._stages("facts"):
            facts = self._facts.update(scene)
        news = bool(scene_start or facts or update.confirmed or update.ended)
        key_frame = self._key_frames.take(frame, news=news, busy=gate.open)
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
            self._facts.likely,
        )

    def remember(self, feature: NDArray[np.float32]) -> None:
        """Take the feature of the newest key frame; in the thread of ``observe``.

        Args:
            feature: (d,) float32 of unit length.
        """
        self._key_frames.remember(feature)

    def forget(self) -> None:
        """The feature of the newest key frame cannot be had; in the thread of ``observe``."""
        self._key_frames.forget()

    def _gated(self, frame: Frame) -> tuple[Grey, GateReading]:
        """The grey picture that all other steps share, and where it changed."""
        with self._stages("gate"):
            grey = luma(frame.image)
            if self._begins_anew(frame):
                self._resume(grey, frame.pts)
            return grey, self._gate.update(grey, frame.pts)

    def _begins_anew(self, frame: Frame) -> bool:
        """After a hole, or where a looped file does: whoever is elsewhere now did not go there."""
        before, self._last = self._last, (frame.connection, frame.round, frame.pts)
        if before is None:
            return False
        connection, round_, pts = before
        return frame.round != round_ or (frame.connection != connection and frame.pts - pts > HOLE_S)

    def _resume(self, grey: Grey, pts: float) -> None:
        """After a hole, or from the beginning again: a new look round; who is there keeps its id, in the same place."""
        if self._camera.resume(grey):
            self._tracker.resume(pts)
        else:
            self._tracker.reset()
            self._health.begin_anew()
        self._gate = BlockGate()  # another exposure, another encoder: the noise is not what it was
        self._frames = 0  # a scene start: what happened meanwhile is not known, so nothing can be told as a change

    def _moved(self, grey: Grey, gate: GateReading, pts: float) -> tuple[CameraReading, bool]:
        """What the camera did, and whether it drives."""
        with self._stages("camera"):
            camera = self._camera.update(grey, pts, gate.changed)
            driving = self._forward.update(grey, pts, gate.changed)
            if self._forward.suspected:  # no one transform describes that, but pixels say nothing of instances either
                camera = replace(camera, moving=True)
            self._steady.update(grey, pts, gate.changed, camera, drives=self._forward.suspected)
            return camera, driving

    def _begin_scene(self, pts: float, *, cut: bool) -> None:
        self._scene_start, self._frames = pts, 0
        if cut:
            self._tracker.reset()
        self._facts = FactEngine()  # who was there in the scene before is no more
        self._forget_background()
        self._nearness.reset()
        self._stationary.reset()
        self._attention.restart()
        self._forward.reset()

    def _forget_background(self) -> None:
        self._foreground.reset()
        self._tracker.forget_background()

    def _follow(
        self, frame: Frame, grey: Grey, gate: GateReading, camera: CameraReading
    ) -> tuple[TrackerUpdate, Health]:
        """Find what is there and carry the tracks on; the health of the picture is judged while the detector looks."""
        with self._stages("foreground"):
            blobs = self._blobs(grey, gate, camera)
        size, tracks = (frame.image.shape[1], frame.image.shape[0]), self._tracker.tracks
        looks = self._attention.looks(size, frame.pts, self._frames, gate, blobs, tracks)
        near = self._carrying.next(tracks, size, frame.pts, len(looks))
        detect = None
        if looks or near is not None:
            detect = self._detector.begin(frame.image, looks, tracks, self._foreground, frame.pts, near, frame.due)
        with self._stages("health"):
            health = self._health.update(grey, frame.pts, moving=camera.moving, cut=camera.cut)
        seen = self._carrying.sort(detect(), tracks) if detect is not None else []
        seen += [Observed(b, 0.0, "", None, self._foreground.cover(b)) for b in blobs]
        with self._stages("track"):
            update = self._tracker.update(
                seen, looks, camera.transform, frame.pts, changed=gate.share, cover=self._foreground.cover
            )
            self._carrying.settle(update.active, size[0] / size[1], frame.pts)
        return update, health

    def _blobs(self, grey: Grey, gate: GateReading, camera: CameraReading) -> Sequence[Box]:
        if camera.moving:
            self._forget_background()
            return []
        # A quiet scene is learnt too: else the first thing that moves in it would pass for the background.
        return self._foreground.update(grey) if gate.open or self._foreground.learns else []

    def _places(self, grey: Grey, gate: GateReading, camera: CameraReading, pts: float) -> tuple[PlaceChange, ...]:
        """Places that look lastingly other, which the detector is to look at for a while."""
        if camera.moving:
            self._stationary.reset()
            return ()
        with self._stages("stationary"):
            mine = [t for t in self._tracker.tracks if t.id and t.label in MOVERS]
            fresh = [t for t in mine if pts - t.seen < HELD_S]
            held = [t.box for t in mine if pts - t.seen < HELD_S or t.stage is Stage.ACTIVE]
            late = [
                t.box for t in fresh if t.confirmed == pts and (t.start_motion < FOUND_LATE or self._frames < SETTLING)
            ]
            found = self._stationary.update(grey, pts, gate.changed, held, late)
            self._attention.note((place.box for place in found), pts)
            return tuple(found)

    def _close(self, frame: Frame, grey: Grey, camera: CameraReading) -> CloseUp | None:
        """What comes before the lens and is nothing that the detector knows well."""
        if camera.moving:
            self._nearness.reset()
            return None
        with self._stages("nearness"):
            tracks = (t for t in self._tracker.tracks if t.stage is not Stage.LOST and t.label in MOVERS)
            known = [t.box for t in tracks if t.best >= NAMED]
            return self._nearness.update(grey, frame.image, frame.pts, known)
