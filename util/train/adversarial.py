"""What trains a generator against a discriminator: memory, balance, and the order of updates."""

import tensorflow as tf

from util.train import losses
from util.train.state import variable

# Purposes of the stateless draws of a step; each has random numbers of its own.
_WHICH_PAST, _WHICH_SLOTS, _BETWEEN = 1, 2, 3


def draw_key(seed, step, purpose):
    """Return the key of one draw of a step, int64 (2,), for `tf.random.stateless_*`."""
    return tf.stack([tf.cast(seed, tf.int64), tf.cast(step, tf.int64) * 64 + purpose])


def of_this_replica(joined):
    """Return this replica's share of a tensor that holds the batches of all; call within run."""
    context = tf.distribute.get_replica_context()
    count = context.num_replicas_in_sync
    if count == 1:
        return joined
    share = tf.shape(joined)[0] // count
    start = share * tf.cast(context.replica_id_in_sync_group, share.dtype)
    return joined[start : start + share]


class PastPictures:
    """Remember pictures that the generator made, so that the discriminator does not forget them.

    A slot holds a whole completed picture with its hole as fourth channel. Empty slots are filled
    first, in order; then slots drawn at random are replaced: with S of them, r a step, a picture is
    S / r steps old in the mean. Which ones follows from the seed and the step, so contents and
    order are the same after a resume and on any number of replicas.

    Parameters
    ----------
    variables : dict[str, tf.Variable]
        Those of `make_variables`, from the run's state.
    seed : int
    refresh : int
        Slots that a step replaces.

    References
    ----------
    A. Shrivastava et al., "Learning from simulated and unsupervised images through adversarial
    training", CVPR 2017, section 2.3.
    """

    def __init__(self, variables, *, seed, refresh):
        self._pictures = variables["history_pictures"]
        self._fill = variables["history_fill"]
        self._seed = seed
        self._slots = self._pictures.shape[0]
        self._refresh = min(refresh, self._slots)

    @staticmethod
    def make_variables(slots, size_px, bits=32):
        """Return the variables of an empty memory: dict name -> tf.Variable.

        bits: 8 keeps values 0..1 in steps of 1/255, 32 as they are.
        """
        pictures = tf.zeros((slots, size_px, size_px, 4), tf.uint8 if bits == 8 else tf.float32)
        return {  # under the names that checkpoints have had from the first
            "history_pictures": variable(pictures, "pictures"),
            "history_fill": variable(tf.constant(0, tf.int64), "fill"),
        }

    def draw(self, step, count):
        """Return `count` remembered pictures, float32 (count, S, S, 4), and whether there are any.

        A picture may come twice. From an empty memory they are zeros, and False.
        """
        key = draw_key(self._seed, step, _WHICH_PAST)
        filled = tf.maximum(self._fill, 1)
        slots = tf.random.stateless_uniform([count], key, maxval=filled, dtype=tf.int64)
        pictures = tf.gather(self._pictures, slots)
        if pictures.dtype == tf.uint8:
            pictures = tf.cast(pictures, tf.float32) / 255.0
        return pictures, self._fill > 0

    def take_in(self, step, pictures, sound):
        """Remember the first of the pictures, (B, S, S, 4) joined over all replicas, if `sound`."""
        count = min(self._refresh, pictures.shape[0] or self._refresh)
        key = draw_key(self._seed, step, _WHICH_SLOTS)
        # Distinct slots: the order of random numbers. Empty slots come before all others.
        order = tf.random.stateless_uniform([self._slots], key)
        number = tf.range(self._slots, dtype=tf.int64)
        empty = number >= self._fill
        order = tf.where(empty, tf.cast(number - self._slots, tf.float32), order)
        slots = tf.argsort(order, stable=True)[:count]
        pictures = pictures[:count]
        if self._pictures.dtype == tf.uint8:
            pictures = tf.cast(tf.round(255.0 * tf.clip_by_value(pictures, 0.0, 1.0)), tf.uint8)

        def write():
            # In place: assigning the whole buffer would copy it in every step.
            self._pictures.scatter_update(tf.IndexedSlices(pictures, slots))
            self._fill.assign(tf.minimum(self._fill + count, self._slots))
            return True

        tf.cond(sound, write, lambda: False)


class Balance:
    """Decide from the losses of the last steps who trains: the one that is far behind.

    While ``ratio * discriminator's mean loss < generator's`` only the generator trains, while
    ``ratio * generator's < discriminator's`` only the discriminator, otherwise both.

    Parameters
    ----------
    variables : dict[str, tf.Variable]
        Those of `make_variables`, from the run's state.
    ratio : float
        0: both train always.
    """

    def __init__(self, variables, *, ratio):
        self._losses, self._count = variables["balance_losses"], variables["balance_count"]
        self._ratio = ratio

    @staticmethod
    def make_variables(window):
        """Return the variables for a mean over `window` steps: dict name -> tf.Variable."""
        return {
            "balance_losses": variable(tf.zeros((window, 2)), "losses"),
            "balance_count": variable(tf.constant(0, tf.int64), "count"),
        }

    def trains(self):
        """Return whether the generator and whether the discriminator trains, two bool tensors."""
        if not self._ratio:
            return tf.constant(True), tf.constant(True)
        # Sums serve as well as means: both are over the same steps, none before the first.
        total = tf.reduce_sum(self._losses, axis=0)
        only_generator = self._ratio * total[1] < total[0]
        only_discriminator = self._ratio * total[0] < total[1]
        return ~only_discriminator, ~only_generator

    def note(self, generator_loss, discriminator_loss, sound):
        """Remember the losses of a step, if `sound`."""
        window = self._losses.shape[0]
        here = (tf.range(window, dtype=tf.int64) == self._count % window) & sound
        new = tf.stack([generator_loss, discriminator_loss])
        self._losses.assign(tf.where(here[:, None], new, self._losses))
        self._count.assign_add(tf.cast(sound, tf.int64))


def discriminator_loss(form, real, fake, past=None, has_past=False):
    """Return ``real + (fake + past) / 2``; while there is no past, the new fakes stand for it.

    Parameters
    ----------
    form : str
        One of `util.train.losses.ADVERSARIAL`.
    real, fake, past : float
        Scores of real pictures, of new fakes and of remembered ones.
    has_past : bool tensor
    """
    judged = losses.judged_fake(form, fake)
    of_past = judged if past is None else losses.judged_fake(form, past)
    return losses.judged_real(form, real) + 0.5 * (judged + tf.where(has_past, of_past, judged))


def penalised(critic, real, fake, key):
    """Return WGAN-GP's gradient penalty on this replica, each sample at a place of its own.

    Parameters
    ----------
    critic : callable
        As for `util.train.losses.gradient_penalty`.
    real, fake : float32 (B, H, W, 3)
    key : int64 (2,)
        From `draw_key`; the same on all replicas.
    """
    count = tf.distribute.get_replica_context().num_replicas_in_sync * tf.shape(real)[0]
    epsilon = of_this_replica(tf.random.stateless_uniform([count, 1, 1, 1], key))
    return losses.gradient_penalty(critic, real, fake, epsilon)


def train_critic(state, batch, compute, settings, *, name, form, then=None):
    """Update a critic several times on one batch; return the mean metrics of the updates.

    Parameters
    ----------
    state : TrainState
    batch : dict of tensors, plain or distributed
    compute : callable
        ``compute(batch, key) -> (gradients, metrics)`` on one replica, for `TrainState.update`;
        key is that of the update's own random numbers.
    settings : the script's settings
        Of them critic_steps, seed and weight_limit count: "wgan" clips the weights to it.
    name : str
        The critic's name among the networks.
    form : str
        One of `util.train.losses.WASSERSTEIN`.
    then : callable, optional
        As `compute`: a second update that follows each; metrics of the same name are added up.
    """
    found, updates, limit = {}, settings.critic_steps, settings.weight_limit

    def move(compute, key):
        metrics = state.update(lambda batch: compute(batch, key), batch).metrics
        if form == "wgan":
            for weight in state.networks[name].trainable_variables:
                weight.assign(tf.clip_by_value(weight.value, -limit, limit))
        del metrics["gradient_norm"]  # that of the generator is the one to show
        for n, value in metrics.items():
            found.setdefault(n, []).append(value)

    for update in range(updates):
        key = draw_key(settings.seed, state.step, _BETWEEN + update)
        move(compute, key)
        if then:
            move(then, key)
    return {n: tf.add_n(values) / updates for n, values in found.items()}
