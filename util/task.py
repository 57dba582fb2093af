"""What a script hands to the shared commands: plain functions and data, no base class."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Task:
    """Hold what a script hands over; see mod_defog.py for each part.

    name : str
        The script's name; also its folder under runs/.
    settings : type
        Its dataclass in configure.py.
    samples : callable
        ``samples(settings, progress) -> (training, validation)``, each ``number -> dict``.
    make_networks : callable
        ``make_networks(settings) -> dict name -> keras.Model``: all that applying needs.
    make_state : callable
        ``make_state(settings) -> TrainState``: the networks and what trains them.
    train_step : callable
        ``train_step(state, batch, settings) -> dict of scalars``.
    restore : callable
        ``restore(networks, batch, settings) -> dict of pictures``.
    sheet : callable
        ``sheet(outputs) -> dict title -> (N, H, W, C)``: the columns of a sheet of pictures.
    scores : callable
        ``scores(output) -> dict of floats`` for one sample with its outputs.
    best : (str, int)
        The score that decides which checkpoint is best, and 1 if more is better, -1 if less.
    inputs : dict name -> channels
        The pictures of a batch that `restore` reads; the first is the one to restore. With "hole"
        (1 = missing) only what is missing is restored.
    outputs : dict name -> channels
        Of what `restore` returns, what is of use to others: "restored" first. With "found_opacity"
        apply keeps the pixels that no cloud touches.
    evaluation : util.use.evaluate.Evaluation
        What the network is measured by, and beside whom.
    """

    name: str
    settings: type
    samples: Callable
    make_networks: Callable
    make_state: Callable
    train_step: Callable
    restore: Callable
    sheet: Callable
    scores: Callable
    best: tuple[str, int]
    evaluation: object
    inputs: dict[str, int] = field(default_factory=lambda: {"cloudy": 3})
    outputs: dict[str, int] = field(default_factory=lambda: {"restored": 3, "found_opacity": 1})

    @property
    def takes_hole(self):
        """Whether pictures come with a hole, which alone is restored."""
        return "hole" in self.inputs

    @property
    def finds_opacity(self):
        """Whether the network says how opaque the cloud is that it takes off."""
        return "found_opacity" in self.outputs
