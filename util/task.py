"""What a script hands to the shared commands: plain functions and data, no base class."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """Hold how a picture of any size is restored: `util.restore.whole` and `holes` have some.

    given : dict name -> channels
        The pictures of a batch that the script's `restore` reads; the first is the one to restore.
        With "hole" (1 = missing) a picture comes with what is missing of it.
    found : dict name -> channels
        Of what `restore` returns, what is of use to others: "restored" first. With "found_opacity"
        the opacity comes out as well.
    rows : callable
        ``rows(trained, source, hole, white=, progress=)``, the finished rows from the top down;
        see `util.restore.bands.bands`, which calls it.
    complete : callable
        ``complete(trained, sample) -> dict of float32 (H, W, C)`` named as in `found`: what is
        found in a sample of any size, for measuring.
    """

    given: dict[str, int]
    found: dict[str, int]
    rows: Callable
    complete: Callable

    @property
    def takes_hole(self):
        """Whether pictures come with a hole."""
        return "hole" in self.given

    @property
    def finds_opacity(self):
        """Whether the network says how opaque the cloud is that it takes off."""
        return "found_opacity" in self.found


@dataclass(frozen=True)
class Task:
    """Hold what a script hands over; see mod_defog.py for each part.

    name : str
        The script's name; also its folder under runs/.
    settings : type
        Its dataclass in configure.py.
    samples : callable
        ``samples(settings, progress, grounds, split) -> (training, validation)``, each ``number ->
        dict``; grounds, if given, take the place of clear_folder's two; split is the run's
        `util.samples.split.Split`, a new one if None.
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
    kind : Kind
        How a picture of any size is restored.
    measure : util.measure.evaluation.Evaluation
        What a run follows, what the network is measured by, and beside whom.
    judge : callable, optional
        ``judge(networks, batch, found, settings) -> dict of float32 (B,)``: what else `measure`
        follows of each validation sample, such as the losses of both networks of a GAN; found is
        what `restore` returned.
    scored_with : tuple of str
        Settings that scores depend on, for the same network and the same samples: the best
        network's is measured again where one of them changes.
    reach_px : int, optional
        How many pixels beyond its own `restore` looks at, besides what the network does. Large
        pictures then go through some rows at a time; said where that network is a U-Net alone.
    """

    name: str
    settings: type
    samples: Callable
    make_networks: Callable
    make_state: Callable
    train_step: Callable
    restore: Callable
    sheet: Callable
    kind: Kind
    measure: object
    judge: Callable | None = None
    scored_with: tuple[str, ...] = ()
    reach_px: int | None = None
