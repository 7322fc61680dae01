"""Models and code, loaded side by side: a command should begin to watch within a second or two."""

from __future__ import annotations

import importlib
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamcap.config import DeviceName, ModelSettings, load_settings, parse_settings

if TYPE_CHECKING:
    from streamcap.models.pool import Models

__all__ = ["DetectorOption", "DeviceOption", "EncoderOption", "load_models", "models_wanted"]

EncoderOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="default, none, or an exported graph: its folder, file, or name.", show_default="default"
    ),
]
DetectorOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="default, or an exported graph.", show_default="default")
]
DeviceOption = Annotated[
    DeviceName | None, typer.Option(help="Where exported graphs run.", show_default=DeviceName.AUTO.value)
]


def models_wanted(config: Path | None = None, **options: object) -> ModelSettings:
    """The models of a settings file, or the defaults, with what was given on the command line (not None) instead.

    Raises:
        ConfigError: the file or an option does not hold.
    """
    base = load_settings(config).models if config is not None else ModelSettings()
    given = {name: value for name, value in options.items() if value is not None}
    return parse_settings({"models": base.model_dump() | given}, "options").models


def load_models(settings: ModelSettings = ModelSettings()) -> Models:
    """Load the models that are wished, with progress on stderr where weights are fetched first.

    Meanwhile a thread imports the pipeline: its grammar library takes a second of CPU to import, while loading models
    waits for the disk and for native code. The thread ends by itself, whatever happens here.

    Raises:
        ModelError: the weights cannot be had or do not load, or the settings name what is not there.
    """
    threading.Thread(target=importlib.import_module, args=("streamcap.pipeline",), daemon=True).start()
    from streamcap.cli.models import weights_progress
    from streamcap.models.pool import load

    # That weights are random, a compiled engine does not fit, or marks are boxes for want of weights, is to be seen
    # without --verbose.
    for name in ("streamcap.models.choosing", "streamcap.captioners.outlining"):
        heard = logging.getLogger(name)
        heard.setLevel(min(heard.getEffectiveLevel(), logging.WARNING))
    with weights_progress() as progress:
        return load(settings, progress)
