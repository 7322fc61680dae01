"""Engines: the models that run for every frame, exported to ONNX and compiled for a GPU. See README.md.

    python -m engines make MODEL

Offline tools: the service never imports them, it only loads what they made (``streamcap/models/graph.py``,
``plans.py``).
"""
