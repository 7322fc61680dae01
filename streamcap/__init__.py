"""streamcap watches live video and says what happens, as it happens."""

import os

__all__ = ["__version__"]

__version__ = "0.1.0"

# From 1.29 on, ONNX Runtime reports to its maker what runs where, unless this is set before it is first imported. What
# watches people's cameras must not call anybody. Whoever wants that says ORT_DISABLE_TELEMETRY=0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
