"""Trackers compared on one set of simulated detections: scenes, our tracker, well-kept libraries, scores."""
