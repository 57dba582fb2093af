"""A network as Deepness wants it, the plug-in of QGIS that runs ONNX files.

It gives planes of 8 bits over 255, in tiles of one size, to a network with one input, and takes the
first plane of each output.

References
----------
qgis-plugin-deepness.readthedocs.io: "Model classes and requirements", "Adding metadata to ONNX
model"; and its code, which asks for tile_size where that page says tiles_size.
"""

import json

import numpy as np
import tensorflow as tf

_COLOURS = ("red", "green", "blue")
_SIDE_PX, _PIXEL_CM = 1024, 1000  # 10 m, as most of the pictures learnt from have


def side_px(settings):
    """Return the side of a tile, of which its margins are at most half."""
    return max(_SIDE_PX, -(-4 * settings.apply_margin_px // 32) * 32)


def by_planes(trained):
    """Return a network that restores pictures as a tf.function of planes, a plane an output.

    In: float32 (1, 3, S, S), 0..1. Out: dict of (1, 1, S, S): red, green, blue, and opacity if the
    network finds it.
    """
    side = side_px(trained.settings)
    (name,) = trained.task.kind.given

    @tf.function(input_signature=[tf.TensorSpec((1, 3, side, side), name=name)])
    def function(planes):
        found = trained.restore({name: tf.transpose(planes, (0, 2, 3, 1))})
        found = {n: tf.transpose(found[n], (0, 3, 1, 2)) for n in trained.task.kind.found}
        return dict(zip(_COLOURS, tf.split(found.pop("restored"), 3, axis=1), strict=True)) | found

    return function


def joined(planes):
    """Return what the network finds, dict of float32 (1, S, S, C), from the outputs as arrays."""
    others = {name: plane for name, plane in planes.items() if name not in _COLOURS}
    colours = np.concatenate([planes[name] for name in _COLOURS], axis=1)
    return {n: np.moveaxis(v, 1, -1) for n, v in {"restored": colours, **others}.items()}


def keys(settings, outputs):
    """Return what Deepness reads in a file to set its dialogue: dict key -> JSON."""
    side = side_px(settings)
    told = {
        "model_type": "Regressor",
        "class_names": [{0: name} for name in outputs],
        "resolution": _PIXEL_CM,
        "tile_size": side,
        "tiles_size": side,
        "tiles_overlap": -(-200 * settings.apply_margin_px // side),  # per cent; half at each edge
        "reg_output_scaling": 255,
    }
    return {key: json.dumps(value) for key, value in told.items()}
