"""The ink of words on coloured ground."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh


def contrast(colour: Any, other: Any) -> float:
    """Return the contrast of two matplotlib colours, 1 to 21, by WCAG 2.2's relative luminance."""
    lights = []
    for value in (colour, other):
        channels = np.array(mpl.colors.to_rgb(value))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ (0.2126, 0.7152, 0.0722)) + 0.05)
    return max(lights) / min(lights)


def ink_cells(axes: Axes) -> None:
    """Give the words in a heat map's cells black or white, whichever is read better; else do nothing."""
    meshes = [item for item in axes.collections if isinstance(item, QuadMesh)]
    if len(meshes) != 1 or meshes[0].get_array() is None:
        return
    grounds = meshes[0].to_rgba(np.ravel(np.asarray(meshes[0].get_array())))
    if len(grounds) == len(axes.texts):
        for text, ground in zip(axes.texts, grounds, strict=True):
            text.set_color(max(("black", "white"), key=lambda ink: contrast(ink, ground)))
