"""Measurements of streamcap: speed, memory, latency, quality. ``python benchmarks/run.py --help``."""
