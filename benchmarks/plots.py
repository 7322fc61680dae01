"""Plots of the benchmarks, where matplotlib is installed (the dev extra)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.common import IMAGES

__all__ = ["bars", "lines"]


def bars(name: str, title: str, labels: Sequence[str], values: Sequence[float], unit: str) -> str:
    """Horizontal bars, the first on top. Returns the file's name, empty without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return ""
    figure = Figure(figsize=(8, 0.4 * len(labels) + 1), layout="constrained")
    axes = figure.subplots()
    drawn = axes.barh(list(labels)[::-1], list(values)[::-1])
    axes.bar_label(drawn, fmt="%.1f", padding=3)
    axes.set(title=title, xlabel=unit)
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / f"{name}.png", dpi=110)
    return f"{name}.png"


def lines(name: str, title: str, x: Sequence[float], series: Mapping[str, Sequence[float]], unit: str) -> str:
    """One small plot above the other, over one axis in ``unit``. Returns the file's name, empty without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return ""
    figure = Figure(figsize=(8, 1.5 * len(series) + 1), layout="constrained")
    figure.suptitle(title)
    for axes, (label, values) in zip(figure.subplots(len(series), 1, sharex=True, squeeze=False)[:, 0], series.items(),
                                     strict=True):  # fmt: skip
        axes.plot(x, values)
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
    axes.set_xlabel(unit)
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / f"{name}.png", dpi=110)
    return f"{name}.png"
