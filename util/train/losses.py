"""Losses that several scripts share."""

import tensorflow as tf

from util.samples.clouds import cover


def l1(a, b):
    """Return the mean absolute difference of two tensors, a scalar."""
    return tf.reduce_mean(tf.abs(a - b))


def _each_l1(a, b):
    return tf.reduce_mean(tf.abs(a - b), axis=[1, 2, 3])


def _each_l2(a, b):
    return tf.reduce_mean(tf.square(a - b), axis=[1, 2, 3])


_EVEN = 1e-7  # added beneath the root, whose slope is infinite where two pictures are the same


def _each_l1_rms(a, b):
    return 0.5 * (_each_l1(a, b) + tf.sqrt(_each_l2(a, b) + _EVEN))


# Of each picture of a batch from its partner: two tensors (B, H, W, C) -> (B,). "l1_rms", half the
# mean difference and half its root mean square, also minds a roof or a field that is taken for
# cloud, which a mean hardly shows and a PSNR does.
DISTANCES = {"l1": _each_l1, "l2": _each_l2, "l1_rms": _each_l1_rms}

_USUAL_DAMAGE, _LEAST_DAMAGE = 0.07, 0.01
_FAINT_WEIGHTS = (0.3, 6.0)


def faint_weights(cloudy, clear, strength):
    """Return how much each picture of a batch counts, (B,): the more, the less is wrong with it.

    ``(0.07 / (mean |cloudy - clear| + 0.01)) ** strength``, within 0.3..6. A mean over pictures is
    that of the thick clouds: a network may take faint cloud for thicker, or bright ground for
    cloud, and lose nothing that shows. In dB, each picture's loss counts by its own size.

    Parameters
    ----------
    cloudy, clear : float32 (B, H, W, 3), 0..1
    strength : float, 0 (all count alike) .. 1 (nearly as in dB)
    """
    damage = _each_l1(cloudy, clear)
    weights = (_USUAL_DAMAGE / (damage + _LEAST_DAMAGE)) ** strength
    return tf.clip_by_value(weights, *_FAINT_WEIGHTS)


def covered_distance(ground, clear, opacity, distance=l1):
    """Return the distance of two grounds after covering both with one cloud, a scalar or (B,).

    What lies under thick cloud cannot be known from its colours, and so does not count.

    Parameters
    ----------
    ground, clear : float32 (B, H, W, 3)
    opacity : float32 (B, H, W, 1), 0..1
        The TRUE opacity.
    distance : callable
        `l1`, or one of `DISTANCES`, which give one for each picture.
    """
    return distance(cover(ground, opacity), cover(clear, opacity))


_THICK_FROM = 0.75  # opacity of cloud that lets next to nothing through


def seen_distance(ground, clear, opacity, distance=l1):
    """Return the distance of two grounds where opacity is below 0.75; as `covered_distance`.

    The mean is over all pixels, those left out counting as 0. Unlike `covered_distance` it asks
    for the ground's own colours under haze, where the covered ones differ by little.
    """
    seen = tf.cast(opacity < _THICK_FROM, tf.float32)
    return distance(ground * seen, clear * seen)


def hidden_distance(ground, clear, opacity, distance=l1):
    """Return the distance of two grounds where `seen_distance` leaves it out."""
    hidden = tf.cast(opacity >= _THICK_FROM, tf.float32)
    return distance(ground * hidden, clear * hidden)


# --- adversarial --------------------------------------------------------------------------------

# "unconstrained" is the published DeblurGAN code: a critic that nothing keeps Lipschitz.
WASSERSTEIN = ("wgan", "wgan-gp", "unconstrained")  # their discriminator is a critic
ADVERSARIAL = ("gan", "dcgan", "lsgan", *WASSERSTEIN)


def _known(form, scores, forms=ADVERSARIAL):
    """Return the scores as float32 if the form is one of `forms`."""
    if form not in forms:
        raise ValueError(f"adversarial form {form!r}: must be one of: {', '.join(forms)}")
    return tf.cast(scores, tf.float32)


def judged_real(form, scores):
    """Return the discriminator's loss for pictures that are real, a scalar.

    Parameters
    ----------
    form : str
        One of `ADVERSARIAL`.
    scores : float (B, 1) or a map (B, h, w, 1)
        What the discriminator returns, linear: logits, or a critic's scores.

    Raises
    ------
    ValueError
        The form is unknown; the message names the choices.
    """
    scores = _known(form, scores)
    if form in WASSERSTEIN:
        return -tf.reduce_mean(scores)
    if form == "lsgan":
        return tf.reduce_mean(tf.square(scores - 1.0))
    return tf.reduce_mean(tf.math.softplus(-scores))  # -log(sigmoid(scores))


def judged_fake(form, scores):
    """Return the discriminator's loss for pictures that are made, a scalar; as `judged_real`."""
    scores = _known(form, scores)
    if form in WASSERSTEIN:
        return tf.reduce_mean(scores)
    if form == "lsgan":
        return tf.reduce_mean(tf.square(scores))
    return tf.reduce_mean(tf.math.softplus(scores))  # -log(1 - sigmoid(scores))


def fooled(form, scores):
    """Return the generator's loss from the scores of what it made, a scalar.

    "gan" is the minimax game: the generator minimises ``log(1 - sigmoid(scores))``, which is
    negative and flat where the discriminator wins. "dcgan" is its non-saturating form,
    ``-log(sigmoid(scores))``.

    Parameters and errors as in `judged_real`.

    References
    ----------
    I. Goodfellow et al., NIPS 2014; A. Radford et al., ICLR 2016; X. Mao et al., "Least squares
    generative adversarial networks", ICCV 2017; M. Arjovsky et al., "Wasserstein GAN", ICML 2017.
    """
    if form == "gan":
        return -judged_fake(form, scores)
    return judged_real(form, scores)


def not_fooled(form, scores):
    """Return how far the generator is from fooling, a scalar, 0 or more: for the balance.

    It is comparable with the discriminator's losses, which the minimax loss is not, being
    negative: for "gan" and "dcgan" ``-log(sigmoid(scores))``, for "lsgan" `fooled`.

    Raises
    ------
    ValueError
        The form is unknown, or one of `WASSERSTEIN`, whose scores have no zero to compare with.
    """
    return judged_real(form, _known(form, scores, ("gan", "dcgan", "lsgan")))


def gradient_penalty(critic, real, fake, epsilon):
    """Return the mean of ``(|gradient of the critic| - 1) ** 2`` between real and fake, a scalar.

    It can be differentiated again by an outer tape, with respect to the critic's weights.

    Parameters
    ----------
    critic : callable
        (B, H, W, 3) -> scores (B, 1), or a map (B, h, w, 1), whose mean is a sample's score. It
        must judge each sample by itself: no batch norm.
    real, fake : float32 (B, H, W, 3)
    epsilon : float32 (B, 1, 1, 1), 0..1
        Where between fake (0) and real (1) a sample is measured; uniform, one a sample.

    References
    ----------
    I. Gulrajani et al., "Improved training of Wasserstein GANs", NIPS 2017.
    """
    between = epsilon * real + (1.0 - epsilon) * fake
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(between)
        scores = tf.cast(critic(between), tf.float32)
        score = tf.reduce_mean(scores, axis=list(range(1, scores.shape.rank)))  # (B,)
    gradient = tape.gradient(score, between, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    squared = tf.reduce_sum(tf.square(tf.cast(gradient, tf.float32)), axis=[1, 2, 3])
    # The slope of a root is infinite at 0, where a critic may well be even.
    some = squared > 0.0
    norm = tf.where(some, tf.sqrt(tf.where(some, squared, 1.0)), 0.0)
    return tf.reduce_mean(tf.square(norm - 1.0))


def hole_l1(restored, clear, hole):
    """Return the mean absolute difference inside the hole, a scalar; 0 where there is none.

    The mean over a picture's missing pixels, each counted as much as it is missing, and then over
    the pictures: so the loss of a batch is the mean of its parts' on several devices.

    Parameters
    ----------
    restored, clear : float32 (B, H, W, 3)
    hole : float32 (B, H, W, 1), 0..1
        1 = missing.
    """
    missing = 3.0 * tf.reduce_sum(hole, axis=[1, 2, 3])
    difference = tf.reduce_sum(tf.abs(restored - clear) * hole, axis=[1, 2, 3])
    return tf.reduce_mean(difference / tf.maximum(missing, 1e-6))


def feature_matching(real, fake):
    """Return how far apart a discriminator's features are of real and fake pictures, a scalar.

    The mean absolute difference of each layer, and of these the mean. No gradient goes through
    the real ones.

    Parameters
    ----------
    real, fake : list of float (B, h, w, C)
        Of equal shapes.

    References
    ----------
    T.-C. Wang et al., "High-resolution image synthesis and semantic manipulation with conditional
    GANs", CVPR 2018, equation 4.
    """
    apart = [
        l1(tf.stop_gradient(tf.cast(a, tf.float32)), tf.cast(b, tf.float32))
        for a, b in zip(real, fake, strict=True)
    ]
    return tf.add_n(apart) / len(apart)
