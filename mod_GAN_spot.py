"""Learn to repaint ground that is hidden completely: a rectangle.

    picture with hole (S, S, 3), hole (S, S, 1) --> generator --> patch (S, S, 3)
    completed = picture outside the hole, patch inside it
    completed (S, S, 3), hole --> discriminator: {whole picture | inside of the hole} --> real?

Where cloud is opaque nothing shines through, so the generator paints what fits. The discriminator
sees the whole picture in one tower and the hole's inside alone in another; it also judges earlier
pictures of the generator again. The hole is filled with a membrane first, which the generator
corrects. At first it learns the mean of what could be there, by the L1 distance; then the
adversarial loss sets in and makes it sharp, and what the discriminator finds in the real picture is
asked for as well. Who is far behind trains alone until the two are balanced again. The hole is a
rectangle, a square in the centre at first, or some have the shape of cloud; mod_GAN_poly.py
repaints holes of any shape.

    python mod_GAN_spot.py            train, or go on training; Ctrl-C stops and saves
    python mod_GAN_spot.py --fresh    begin anew; the old run moves to History/
    python mod_GAN_spot.py --help     every setting (they live in configure.py)

In runs/mod_GAN_spot/: latest.png (look at it), sheets/, log.csv, losses.png (losses and, below
them, who trained), tensorboard/, checkpoints/, best.npz. On two CPU cores the first sheet appears
within a minute.

What is shared with mod_GAN_poly.py: the networks in util/networks/inpainting.py; losses, step and
what a person sees in util/train/inpainting.py; the memory of earlier pictures, the balance and the
order of updates in util/train/adversarial.py; the holes in util/samples/holes.py.

Global and local discriminator: S. Iizuka, E. Simo-Serra, H. Ishikawa, "Globally and locally
consistent image completion", ACM Transactions on Graphics 36(4), 2017.
"""

if __name__ == "__main__":
    from util import interrupt

    interrupt.listen()  # first: Ctrl-C is heard while TensorFlow loads

from functools import partial

from configure import GANSpot
from util import command
from util.measure.evaluation import HOLES
from util.restore import holes
from util.samples.damage import Samples, holed, opacity_from, open_layers
from util.samples.ground import open_grounds
from util.samples.holes import cloud_or_spot_hole
from util.task import Task
from util.train import inpainting

# --- samples: what it eats --------------------------------------------------------------------


def samples(settings, progress=True, grounds=None, split=None):
    """Return what to train and to validate with: number -> dict of float32, 0..1.

    clear and holed (S, S, 3), hole (S, S, 1), 1 = missing; S is crop_px.
    grounds: the two grounds, where they are not clear_folder's. split: the run's.
    """
    clouds = settings.cloud_hole_share > 0
    grounds = grounds or open_grounds(settings, progress, split)
    layers = open_layers(settings, progress, split) if clouds else (None, None)

    def draw(layers):
        return partial(
            cloud_or_spot_hole,
            size_px=settings.crop_px,
            cloud_share=settings.cloud_hole_share,
            draw_opacity=opacity_from(layers, settings),
            side_share=settings.spot_share,
            width_share=settings.spot_width_share,
            place=settings.spot_place,
            anywhere=settings.spot_anywhere,
        )

    return [
        Samples(ground, partial(holed, draw=draw(part), rim_px=settings.rim_px))
        for ground, part in zip(grounds, layers, strict=True)
    ]


TASK = Task(
    name="mod_GAN_spot",
    settings=GANSpot,
    samples=samples,
    make_networks=inpainting.make_networks,
    make_state=inpainting.make_state,
    train_step=inpainting.train_step,
    restore=inpainting.restore,
    sheet=inpainting.sheet,
    kind=holes.KIND,
    measure=HOLES,
)

if __name__ == "__main__":
    command.main(TASK, __doc__)
