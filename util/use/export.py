"""Write a trained network for other programs, and compare what was written with the network."""

import importlib
import re
import sys
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from util import files, interrupt
from util.pictures.pixels import as_float
from util.pictures.read import read_picture
from util.run import checkpoint
from util.say import UserError, say, show
from util.use import deepness

FORMATS = {
    "keras": ".keras",
    "savedmodel": "",
    "onnx": ".onnx",
    "qgis": ".onnx",
    "litert": ".tflite",
    "weights": ".npz",
}
# The same arithmetic in another order; less than half a step of 8 bits (1/510) cannot be seen.
TOLERANCE = 1e-3
HALF_TOLERANCE = 1 / 255  # of weights in half precision: a step of 8 bits
_PARITY_PICTURE = Path(__file__).resolve().parents[2] / "data" / "cloudy" / "l8_alabama.png"


@keras.saving.register_keras_serializable("cloud_removal")
class Restoration(keras.Model):
    """A script's networks and its `restore` as one model: pictures in, restored pictures out.

    Input: float32 (B, H, W, C), 0..1, or a dict of them where the script's restore reads several.
    Output: dict of what the script's Task calls its outputs, float32 (B, H, W, C), 0..1.

    Parameters
    ----------
    script : str
        Name of the script's module.
    settings : dict
        All its settings.
    networks : dict[str, keras.Model], optional
        Default: built anew, without training.
    """

    def __init__(self, script, settings, networks=None, **kwargs):
        super().__init__(**kwargs)
        task = _task(script)
        names = task.settings.__dataclass_fields__
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        self._script, self._values = script, values
        # Keras would take a dataclass apart to look for layers in it.
        real = task.settings(**{k: v for k, v in values.items() if k in names})
        self._inputs_of_task, self._outputs_of_task = tuple(task.kind.given), tuple(task.kind.found)
        networks = networks or task.make_networks(real)
        self._order = tuple(networks)
        for name, network in networks.items():
            setattr(self, f"network_{name}", network)
        self._restore = lambda networks, batch: task.restore(networks, batch, real)

    def call(self, inputs):
        batch = inputs if isinstance(inputs, dict) else {self._inputs_of_task[0]: inputs}
        networks = {name: getattr(self, f"network_{name}") for name in self._order}
        found = self._restore(networks, batch)
        return {name: found[name] for name in self._outputs_of_task}

    def get_config(self):
        config = super().get_config()
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in self._values.items()}
        return {**config, "script": self._script, "settings": values}

    def build(self, input_shape):
        """Everything is built from the start."""
        self.built = True


def _task(script):
    """Return the Task of a script of this project."""
    # A .keras file names the script; nothing but a script of this folder may be run for it.
    if not re.fullmatch(r"mod_\w+", script):
        raise UserError(f"{script!r:.60} is no script of this project")
    running = sys.modules.get("__main__")
    if Path(getattr(running, "__file__", None) or "").stem == script and hasattr(running, "TASK"):
        return running.TASK
    return importlib.import_module(script).TASK


class _DiffersError(Exception):
    """What was written does not do what the network does."""


def export(trained, kind, path):
    """Write the network to `path`, compare, and only then give the file its name.

    Parameters
    ----------
    trained : util.use.trained.Trained
    kind : {"keras", "savedmodel", "onnx", "qgis", "litert", "weights"}
        "qgis" is an ONNX file for QGIS's plug-in Deepness. "weights" is the networks of a
        checkpoint, in half precision: a few MB that apply, evaluate and `--from` of this project
        take.
    path : Path
        Gets the format's suffix if it has none.

    Returns
    -------
    int
        0, or 1 if the file's results differ; it is then removed.

    Raises
    ------
    UserError
        `path` exists or cannot be written, an optional package is missing, or Deepness cannot
        give the network all that it takes.
    """
    if FORMATS[kind] and path.suffix.lower() != FORMATS[kind]:
        path = path.with_name(path.name + FORMATS[kind])
    if path.exists():
        raise UserError(f"--out {path}: exists; remove it or name another")
    if kind == "qgis" and trained.task.kind.takes_hole:
        raise UserError("--format qgis: Deepness gives a network a picture, but no holes")
    if kind in _NEEDS:
        _import(kind)
    # These take one size only.
    sides = {"litert": trained.settings.crop_px, "qgis": deepness.side_px(trained.settings)}
    picture = _parity_picture(sides.get(kind, 256))
    batch = _batch(trained.task, picture)
    found = trained.restore(batch)
    wanted = {n: found[n].numpy() for n in trained.task.kind.found}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.in_place_of(path) as temporary:
            got = _KINDS[kind](trained, temporary, batch)
            differences = {n: _difference(wanted[n], got[n]) for n in wanted}
            most = HALF_TOLERANCE if kind == "weights" else TOLERANCE
            show("greatest difference from the network on a real picture, values 0..1:")
            for name, difference in differences.items():
                show(f"  {name}: {difference:.2g} (at most {most:.2g} is allowed)")
            if not all(difference <= most for difference in differences.values()):
                raise _DiffersError
            interrupt.guard()
    except _DiffersError:
        say(f"{kind}: the results differ too much; nothing was written")
        return 1
    except OSError as error:
        raise UserError(f"--out {path}: cannot be written ({error.strerror})") from None
    finally:
        interrupt.leave()
    show(f"done: {path}, from {trained}")
    return 0


def _model(trained):
    given = trained.task.kind.given
    inputs = {n: keras.Input((None, None, channels), name=n) for n, channels in given.items()}
    if len(inputs) == 1:
        (inputs,) = inputs.values()
    model = Restoration(trained.task.name, asdict(trained.settings), trained.networks)
    model(inputs)  # lets Keras know the signature
    return model


def _parity_picture(side):
    """Return float32 (1, side, side, 3): real cloud over real ground, mirrored if too small."""
    pixels = as_float(read_picture(_PARITY_PICTURE))
    missing = [(0, max(0, side - n)) for n in pixels.shape[:2]]
    pixels = np.pad(pixels, (*missing, (0, 0)), "symmetric")
    top, left = ((n - side) // 2 for n in pixels.shape[:2])
    return np.ascontiguousarray(pixels[None, top : top + side, left : left + side])


def _batch(task, picture):
    """Return the inputs of a task made from a picture; a hole is its middle, half as long."""
    name = next(iter(task.kind.given))
    if not task.kind.takes_hole:
        return {name: picture}
    hole = np.zeros((*picture.shape[:3], 1), np.float32)
    height, width = picture.shape[1:3]
    hole[:, height // 4 : -height // 4, width // 4 : -width // 4] = 1
    return {name: picture * (1 - hole), "hole": hole}


def _difference(wanted, got):
    if wanted.shape != got.shape or not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(wanted - got).max())


# --- the formats: each writes `path`, reads it back and returns its results on `batch` -----------


def _keras(trained, path, batch):
    model = _model(trained)
    model.save(path)
    # The only place that loads a model: the file just written here, in Keras' safe mode.
    loaded = keras.saving.load_model(path, safe_mode=True)  # noqa: TID251
    show("load it in the project's folder: import util.use.export, then keras.saving.load_model")
    return {n: v.numpy() for n, v in loaded(_argument(batch)).items()}


def _signature(model, size=None):
    inputs = model._inputs_of_task
    channels = _task(model._script).kind.given
    batch = 1 if size else None
    specs = {n: tf.TensorSpec((batch, size, size, channels[n]), name=n) for n in inputs}
    return specs if len(specs) > 1 else next(iter(specs.values()))


def _savedmodel(trained, path, batch):
    model = _model(trained)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", model.call, input_signature=[_signature(model)])
    archive.write_out(str(path), verbose=False)
    loaded = tf.saved_model.load(str(path))
    return {n: v.numpy() for n, v in loaded.serve(_argument(batch)).items()}


def _argument(batch):
    """Return a batch as the models take it: a lone picture without its name."""
    return batch if len(batch) > 1 else next(iter(batch.values()))


def _onnx(trained, path, batch):
    model = _model(trained)

    @tf.function(input_signature=[_signature(model)])
    def function(inputs):
        return model(inputs)

    return _by_onnxruntime(function, path, batch)


def _by_onnxruntime(function, path, batch):
    tf2onnx, onnxruntime = _import("onnx")
    signature = function.input_signature
    tf2onnx.convert.from_function(function, signature, opset=17, output_path=str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs, outputs = ([x.name for x in xs] for xs in (session.get_inputs(), session.get_outputs()))
    if len(batch) == 1:  # without a name of its own
        batch = dict(zip(inputs, batch.values(), strict=True))
    return dict(zip(outputs, session.run(outputs, batch), strict=True))


def _qgis(trained, path, batch):
    ((name, picture),) = batch.items()
    planes = {name: picture.transpose(0, 3, 1, 2)}
    found = _by_onnxruntime(deepness.by_planes(trained), path, planes)
    _, _, onnx = _import("qgis")
    content = onnx.load(str(path))
    onnx.helper.set_model_props(content, deepness.keys(trained.settings, list(found)))
    onnx.save(content, str(path))
    show("note: docs/data.md tells how QGIS runs it")
    return deepness.joined(found)


def _litert(trained, path, batch):
    model, crop_px = _model(trained), trained.settings.crop_px
    # Weights left as variables come out of the converter of TensorFlow 2.21 as NaN: freeze them.
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2 as frozen,
    )

    function = tf.function(model.call).get_concrete_function(_signature(model, crop_px))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen(function)])
    try:
        content = converter.convert()
    except Exception:  # an operation that LiteRT itself lacks; the converter's errors are its own
        ops = tf.lite.OpsSet
        converter.target_spec.supported_ops = [ops.TFLITE_BUILTINS, ops.SELECT_TF_OPS]
        content = converter.convert()
        show("note: the file needs a LiteRT that was built with select TensorFlow operations")
    path.write_bytes(content)
    show(f"note: LiteRT files have a fixed size, this one 1 x {crop_px} x {crop_px} (crop_px)")
    (interpreter_class,) = _import("litert")
    interpreter = interpreter_class(model_path=str(path))
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        channels = detail["shape"][-1]
        value = next(v for v in batch.values() if v.shape[-1] == channels)
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    # They have no names in the file: TensorFlow has put the names in order.
    names = sorted(model._outputs_of_task)
    show(f"note: its outputs are, by their names: {', '.join(names)}")
    details = sorted(interpreter.get_output_details(), key=lambda detail: detail["name"])
    values = [interpreter.get_tensor(detail["index"]) for detail in details]
    return dict(zip(names, values, strict=True))


def _weights(trained, path, batch):
    task, settings = trained.task, trained.settings
    # Folders of this machine are nobody else's business.
    kept = {n: v for n, v in asdict(settings).items() if not n.endswith(("_folder", "_file"))}
    meta = {**trained.meta, "settings": kept}
    checkpoint.save_networks(path, trained.networks, trained.step, meta)
    networks = task.make_networks(settings)
    checkpoint.load_networks(path, networks)
    found = task.restore(networks, batch, settings)
    return {name: found[name].numpy() for name in task.kind.found}


# What a format needs besides TensorFlow: (package, module, name in it or "" for the module).
_ONNX = ("tf2onnx", "tf2onnx", ""), ("onnxruntime", "onnxruntime", "")
_NEEDS = {
    "onnx": _ONNX,
    "qgis": (*_ONNX, ("onnx", "onnx", "")),
    "litert": (("ai-edge-litert", "ai_edge_litert.interpreter", "Interpreter"),),
}


def _import(kind):
    """Return the optional parts of a format, or say how to get them."""
    try:
        modules = [(importlib.import_module(module), name) for _, module, name in _NEEDS[kind]]
    except ImportError as error:
        packages = " ".join(package for package, _, _ in _NEEDS[kind])
        raise UserError(
            f"--format {kind} needs optional packages ({error}): pip install {packages}"
        ) from None
    return [getattr(module, name) if name else module for module, name in modules]


_KINDS = {
    "keras": _keras,
    "savedmodel": _savedmodel,
    "onnx": _onnx,
    "qgis": _qgis,
    "litert": _litert,
    "weights": _weights,
}
