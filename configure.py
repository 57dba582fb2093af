"""Every setting a person tunes. Edit the values here; each script uses its own class below.

Any of them can also be set for one start: ``python mod_defog.py --batch-size 8``.
Relative folders and files are meant from the folder of this file, on the command line from where
you are.
"Source" in a comment is the value of the published system where ours differs from it: of
CloudRemoval as it stood on 2018-10-23 (cloud and holes; 2019 is a later state), of
DeblurGanToDehaze (haze), and of those that the last three scripts follow. One word sets all of
them, ``--preset source``: the tables `presets`. docs/systems.md says what is left.
"""

from util.settings import (
    AT_ONCE,
    FIXED,
    HERE,
    OTHER_SAMPLES,
    Rule,
    Settings,
    at_least,
    between,
    one_of,
    range_within,
    row,
    rule,
    settings_class,
)

# What no source has, or keeps constant: their presets begin with it.
_PLAIN = {
    "ground_gain": 0.0,
    "ground_offset": 0.0,
    "ground_zoom": (1.0, 1.0),
    "ground_curve": 0.0,
    "ground_tint": 0.0,
    "learning_rate": 1e-4,
    "epsilon": 1e-8,
    "clip_norm": 0.0,
    "tanh_slope": 0.0,
    "warmup_steps": 0,
    "final_rate_share": 1.0,
    "clear_below": 0.0,
}


@settings_class
class Common(Settings):
    """Settings that every script has."""

    preset: str = "ours"  # ours (the values here) or source (the published system's)

    # --- folders ---
    clear_folder: str = "data/clear"  # pictures of clear ground to learn from, with sub-folders
    runs_folder: str = "runs"  # live runs, one sub-folder a script
    history_folder: str = "History"  # earlier runs, moved here by --fresh
    cache_folder: str = "cache"  # pictures decoded once for quick reading; may be deleted

    # --- data ---
    crop_px: int = 128  # side of a training crop, a multiple of 32; larger sees more, costs more
    validation_by: str = "auto"  # held back: scene (folder), tile, list; auto: lists, or scenes
    validation_share: float = 0.2  # share of the scenes, or of each one's tiles, held back
    validation_samples: int = 64  # fixed samples that the scores are measured on
    max_pixels: int = 400_000_000  # larger pictures are refused, against decompression bombs
    full_scale: float = 0.0  # value of white, in 8-bit files 2..255; 0 = the type's range

    # --- ground ---
    ground_gain: float = 0.025  # jitter: brightness, +- share (source 0; 2019 0.025)
    ground_offset: float = 0.01  # jitter: added to each channel, +- (source 0; 2019 0.01)
    ground_zoom: tuple[float, float] = (0.7, 2.5)  # training: window cut, in crops (source 1, 1)
    ground_curve: float = 0.3  # training: middle tones of the ground up or down (source 0)
    ground_tint: float = 0.15  # training: each channel of the ground, +- share (source 0)
    ground_saturation: float = 0.0  # training: colours of the ground stronger or weaker, +-
    ground_pasted: float = 0.0  # training: share of samples with bright things of other ground

    # --- optimiser ---
    optimizer: str = "adam"  # adam (source) or muon (kernels move in all directions alike)
    batch_size: int = 16  # pictures a step over all devices (source 64)
    learning_rate: float = 2e-3  # highest rate of the run, 1e-5..1e-2 (source 1e-4, constant)
    beta_1: float = 0.5  # Adam: memory of the gradient, 0..0.95
    beta_2: float = 0.99  # Adam: memory of its square, 0.5..0.9999 (source 0.9)
    epsilon: float = 1e-7  # Adam: added to the root of that, so that none is 0 (source 1e-8)
    clip_norm: float = 1.0  # longest gradient of a network; 0 = any (source 0)
    tanh_slope: float = 0.001  # slope that a last tanh keeps in its flat ends (source 0)

    # --- schedule ---
    steps: int = 6000  # length of the run; raise it later to go on, the rate falls towards it
    epochs: int = 0  # the same in passes over the pictures, a crop of each; 0 = as steps says
    warmup_steps: int = 100  # steps over which the rate rises from 0 (source 0)
    final_rate_share: float = 0.01  # rate at the end, of the highest; 1 = constant (source 1)
    rate_drop_every: int = 0  # instead, the rate falls to a tenth after each so many steps; 0 = no

    # --- how often (in steps) ---
    log_every: int = 50  # a row in log.csv and TensorBoard
    validate_every: int = 250  # scores on the validation samples; a multiple of log_every
    sheet_every: int = 250  # a sheet of pictures and the loss plot; also after 10, 50 and 100
    save_every: int = 500  # a checkpoint
    keep_checkpoints: int = 3  # how many of the newest checkpoints stay

    # --- hardware ---
    devices: str = "all"  # all (every GPU, else the CPU), cpu, or chosen ones such as gpu:0,gpu:2
    precision: str = "float32"  # float32 or mixed_bfloat16 (up to 1.5x where the chip has it)
    jit_compile: bool = False  # compile with XLA: often faster on GPUs, slower on CPUs
    sample_processes: int = 0  # that draw samples; 0: up to 12 a GPU, on a CPU threads do

    # --- apply ---
    apply_tile_px: int = 2304  # a tile has at most its square in pixels; smaller takes less memory
    apply_margin_px: int = 160  # thrown away at a tile's inner edges; group norm cannot be exact
    clear_below: float = 0.04  # found opacity under which a pixel stays as it came in (source 0)

    # --- seed ---
    seed: int = 0  # everything random follows from it


@settings_class
class CloudShapes(Common):
    """Settings of the scripts that draw the opacity of cloud."""

    # --- clouds ---
    cloud_folder: str = "data/clouds"  # grey pictures whose brightness is opacity
    noise_share: float = 0.5  # share of samples with Perlin noise, not pictures (source 0)
    cloud_window_px: tuple[int, int] = (64, 256)  # window of a cloud picture (source 256, 256)
    noise_cell_px: tuple[float, float] = (10.0, 240.0)  # largest cells of the noise
    noise_octaves: int = 7  # layers of noise, each finer than the last
    noise_persistence: float = 0.5  # weight of a layer relative to the one before, 0..1
    noise_lacunarity: float = 2.0  # how many times finer a layer is


# How CloudRemoval draws cloud; and white cloud over ground, as its U-Nets see it.
_LAYERS = {"noise_share": 0.0, "cloud_window_px": (256, 256)}
_WHITE_CLOUD = _LAYERS | {
    "ground_saturation": 0.0,
    "clear_share": 0.0,
    "veil_share": 0.0,
    "cumulus_share": 0.0,
    "greatest_opacity": (1.0, 1.0),
    "layer_own_share": 0.0,
    "haze_share": 0.0,
    "cloud_brightness": (1.0, 1.0),
    "cloud_colour": (1.0, 1.0),
    "cloud_shading": 0.0,
    "wavelength_exponent": (0.0, 0.0),
    "shadow_share": 0.0,
    "channel_shift_px": 0.0,
    "blur_beneath_px": 0.0,
    "picked_share": 0.0,
    "jpeg_share": 0.0,
    "sensor_noise": 0.0,
    "optimizer": "adam",
    "batch_size": 64,
    "beta_1": 0.5,
    "beta_2": 0.9,
    "head": "direct",
    "norm": "own",
    "seen_weight": 0.0,
}


@settings_class
class Clouds(CloudShapes):
    """Settings of the scripts that draw half-transparent cloud over clear ground."""

    # --- ground: many scenes, lights and scales ---
    ground_gain: float = 0.15  # jitter: brightness, +- share (source 0; 2019 0.025)
    ground_zoom: tuple[float, float] = (0.5, 4.0)  # training: window cut, in crops (source 1, 1)
    ground_curve: float = 0.35  # training: middle tones of the ground up or down (source 0)
    ground_saturation: float = 0.2  # training: colours of the ground stronger or weaker (source 0)
    ground_tint: float = 0.1  # training: each channel of the ground, +- share (source 0)

    # --- clouds ---
    clear_share: float = 0.25  # share of samples without cloud (source 0)
    veil_share: float = 0.15  # share of samples with a smooth veil, half of it all over (source 0)
    cumulus_share: float = 0.3  # share of samples with hard-edged cloud (source 0)
    greatest_opacity: tuple[float, float] = (0.0, 1.3)  # maps times this, at most 1 (source 1, 1)
    layer_own_share: float = 0.5  # cloud pictures with their own opacity, not stretched (source 0)
    cumulus_cover: tuple[float, float] = (0.02, 0.7)  # share of a sample that hard-edged cloud has
    cumulus_cell_px: tuple[float, float] = (2.5, 120.0)  # largest cells of its noise
    cumulus_edge: tuple[float, float] = (0.1, 1.2)  # width of its edge, in deviations of the noise
    cumulus_octaves: int = 5  # layers of that noise, each half as large as the last
    cumulus_persistence: float = 0.6  # weight of a layer of that noise relative to the one before
    heap_share: float = 0.0  # training: share of samples with cumulus of bright and dark sides
    cut_folder: str = ""  # training: real clouds, cut out by prepare_data.py cut; empty: none
    cut_share: float = 0.25  # training: share of samples that have them, if there are any
    haze_share: float = 0.1  # share of samples with flat haze over all of them besides (source 0)
    haze_opacity: tuple[float, float] = (0.0, 0.3)  # how opaque that is
    opacity_offset: tuple[float, float] = (0.0, 0.0)  # jitter, added (source 0, 0; 2019 -.05, .25)

    # --- light and sensor ---
    cloud_brightness: tuple[float, float] = (0.88, 1.25)  # of cloud; above 1: white (source 1, 1)
    cloud_colour: tuple[float, float] = (0.96, 1.0)  # tint, by channel (source 1, 1; 2019 0.98, 1)
    cloud_shading: float = 0.15  # thick cloud is darker in places, by up to this share (source 0)
    cloud_relief: float = 0.0  # training: heaps are darker away from the sun and at rims, by up to
    wavelength_exponent: tuple[float, float] = (0.0, 1.5)  # thin haze is bluish (source 0, 0)
    shadow_share: float = 0.5  # share of samples whose cloud throws a shadow (source 0)
    shadow_depth: tuple[float, float] = (0.1, 0.9)  # how much light it takes
    channel_shift_px: float = 2.0  # cloud in red and blue is off that in green, up to (source 0)
    blur_beneath_px: float = 1.5  # ground beneath opaque cloud is blurred, up to (source 0)
    picked_share: float = 0.15  # pictures made of single pixels, as quick looks are (source 0)
    picked_px: float = 2.0  # how far apart those lie on the ground, up to
    jpeg_share: float = 0.3  # share of cloudy pictures that come out of a JPEG file (source 0)
    jpeg_quality: tuple[float, float] = (60.0, 95.0)  # of that file
    sensor_noise: float = 0.015  # noise on the cloudy picture: standard deviation up to (source 0)

    # --- optimiser ---
    optimizer: str = "muon"  # adam (source) or muon: learns as much in half the steps
    learning_rate: float = 2e-3  # highest rate; 1e-3 with adam, or losses spike (source 1e-4)
    beta_1: float = 0.9  # Adam: memory of the gradient, 0..0.95; at 0.5 losses spiked (source 0.5)

    # --- apply ---
    cloud_white: float = 1.0  # how bright dark sides of cloud are, of white: less finds grey cloud
    sizes: int = 1  # 2: results are means over its own size and twice that: 5 times as long
    turns: int = 1  # results are means over so many flips: 1, 2 or 8, which takes as many times
    pixel_m: float = 0.0  # metres of ground a pixel: what fills no half of 100 x 100 m is no cloud

    # --- losses ---
    opacity_weight: float = 3.0  # weight of the opacity's L1 against the covered ground's
    seen_weight: float = 1.0  # weight of the ground's own L1 where opacity < 0.75 (source 0)


@settings_class
class Defog(Clouds):
    """Settings of mod_defog.py."""

    # --- network ---
    base_width: int = 12  # channels of the first level; 12: 5.38 M weights (source 8: 2.39 M)
    head: str = "light"  # light (of cloud found, too), unmix (white cloud), direct (source)
    norm: str = "none"  # none, batch, own (source), group, instance; see docs/machines.md
    upsampling: str = "transposed"  # transposed (source) or resize (nearest, then 3x3)

    # --- losses ---
    distance: str = "l1"  # by which pictures are compared: l1 (source), l2 or l1_rms (half each)
    faint_weight: float = 0.0  # 0..1: little or no cloud counts more; not early in a run (source 0)
    hidden_weight: float = 0.2  # weight of the ground's L1 under thick cloud: no specks (source 0)

    # --- apply ---
    dimmed: float = 0.1  # what is darker than cloud is seen darker still, by this share (source 0)


Defog.presets = {
    "source": _PLAIN | _WHITE_CLOUD | {"base_width": 8, "hidden_weight": 0.0, "dimmed": 0.0},
}


@settings_class
class Mend(Clouds):
    """Settings of mod_mend.py."""

    # --- network ---
    stage1_width: int = 6  # channels of the first level of the U-Net that finds cloud (source 12)
    stage2_width: int = 6  # and of the one that then finds the ground (source 14)
    head: str = "unmix"  # unmix (opacity removed, then corrected) or direct (source)
    norm: str = "none"  # none, batch, own (source), group, instance; see docs/machines.md
    upsampling: str = "transposed"  # transposed (source) or resize (nearest, then 3x3)
    stage2_sees: str = "picture"  # beside the opacity found: picture, or stage 1's ground (source)

    # --- optimiser ---
    stage2_rate_share: float = 1.0  # highest rate of stage 2, of stage 1's

    # --- schedule ---
    gate_loss: float = 0.6  # stage 2 trains while stage 1's mean loss is at most it (source 0.125)


Mend.presets = {
    "source": _PLAIN
    | _WHITE_CLOUD
    | {"stage1_width": 12, "stage2_width": 14, "stage2_sees": "ground", "gate_loss": 0.125}
}


@settings_class
class Inpaint(Common):
    """Settings of the scripts that repaint holes with a generator and a discriminator."""

    # --- networks ---
    base_width: int = 16  # channels of the last level; 16: generator 2.3 M, discriminator 1.5 M
    generator: str = "gated"  # gated (three levels, dilated middle) or source (five; 7.2 M weights)
    painting: str = "membrane"  # holes begin filled: membrane, fill (coarser); direct (source: not)
    skips: bool = True  # join the generator's levels down and up (source false)
    norm: str = "none"  # of the generator: none, batch, own (source), group, instance
    upsampling: str = "resize"  # transposed (source; leaves checkerboards) or resize (nearest, 3x3)
    towers: str = "both"  # discriminator sees: both (source), global (picture), local (hole alone)
    discriminator_head: str = "dense"  # dense (source) or tensor (factored layers, few weights)
    detail_gain: float = 8.0  # the discriminator sees detail enlarged by this (source 1: as it is)
    spectral_norm: bool = False  # keep the discriminator's kernels at norm 1 (not the tensor head)

    # --- losses ---
    adversarial: str = "dcgan"  # gan (minimax), dcgan (source), lsgan, wgan (clipped), wgan-gp
    adversarial_weight: float = 0.05  # weight of the adversarial loss (source 1)
    feature_weight: float = 0.5  # of the L1 of the discriminator's features; rises too (source 0)
    reconstruction_weight: float = 1.0  # weight of the L1 inside the hole (source 0)
    rim_px: float = 32.0  # which counts half as much so far from the rim; 0 = all alike (source 0)
    reconstruction_steps: int = 300  # steps before the adversarial loss counts (source 0)
    adversarial_rise_steps: int = 300  # steps over which it then rises to its weight (source 0)
    balance_ratio: float = 8.0  # who is behind by this factor trains alone; 0 = both always
    balance_window: int = 50  # steps whose mean losses decide that (source 1; before, an epoch)
    critic_steps: int = 3  # wgan(-gp): critic's updates for one of the generator (1 in the source)
    gradient_penalty_weight: float = 10.0  # wgan-gp: weight of the gradient penalty
    weight_limit: float = 0.01  # wgan: the critic's weights are clipped to +- this

    # --- earlier generated pictures ---
    past_size: int = 768  # earlier pictures, judged again with new ones; 0 = none (source 1024+)
    past_share: float = 0.0625  # share of a batch that joins them each step: 1 of 16 (source 0.25)
    past_bits: int = 8  # of a value of theirs: 8 (50 MB at 128 px), or 32 (as in the source)

    # --- optimiser ---
    learning_rate: float = 2e-4  # highest rate of the run, 1e-5..1e-3 (source 1e-4, constant)
    average: float = 0.998  # painted with means of the weights of some 1/(1-this) steps (source 0)
    discriminator_rate_share: float = 1.0  # the discriminator's rate, of the generator's

    # --- schedule ---
    steps: int = 3000  # length of the run; raise it later to go on, the rate falls towards it

    # --- apply ---
    apply_margin_px: int = 96  # seen around holes, thrown away at tiles' edges; more is no better
    hole_colour: str = "none"  # pixels of this colour are missing: none, black, white or r,g,b
    hole_margin_px: int = 0  # holes grow by this, where masks leave a rim of cloud
    hole_opacity_from: float = 0.75  # from this opacity on a mask a_opacity.png means missing


@settings_class
class GANSpot(Inpaint, CloudShapes):
    """Settings of mod_GAN_spot.py."""

    # --- holes ---
    spot_share: float = 0.5  # height of the rectangle, as a share of the crop's side
    spot_width_share: float = 0.0  # its width; 0 = a square
    spot_place: tuple[float, float] = (0.5, 0.5)  # down, right: 0, 0 top left, 0.5, 0.5 the centre
    spot_anywhere: bool = False  # true: at a random place instead
    cloud_hole_share: float = 0.0  # share of holes with the shape of cloud, soft from opacity 0.5


@settings_class
class GANPoly(Inpaint, CloudShapes):
    """Settings of mod_GAN_poly.py."""

    # --- holes ---
    polygon_vertices: int = 5  # corners of the random polygon, 3 or more
    edge_px: int = 8  # width of the hole's soft edge; 1 = hard
    cloud_hole_share: float = 0.5  # share of holes with the shape of thick cloud (source 0)
    cleared_share: float = 0.5  # share of samples whose known pixels are cleared haze (source 0)


GANSpot.presets = {
    "source": _PLAIN
    | _LAYERS
    | {
        "batch_size": 64,
        "beta_2": 0.9,
        "painting": "direct",
        "skips": False,
        "norm": "own",
        "upsampling": "transposed",
        "detail_gain": 1.0,
        "adversarial_weight": 1.0,
        "reconstruction_weight": 0.0,
        "reconstruction_steps": 0,
        "adversarial_rise_steps": 0,
        "balance_window": 1,
        "past_size": 1024,
        "past_share": 0.25,
        "generator": "source",
        "feature_weight": 0.0,
        "rim_px": 0.0,
        "average": 0.0,
    }
}
GANPoly.presets = {
    "source": GANSpot.presets["source"] | {"cloud_hole_share": 0.0, "cleared_share": 0.0}
}


@settings_class
class Deblur(Common):
    """Settings of mod_deblurgan.py."""

    # --- data ---
    hazy_folder: str = ""  # hazy partners of the clear pictures; empty = haze is laid over them
    depth_folder: str = ""  # their depth, grey, white is far; empty = a smooth random field
    airlight: tuple[float, float] = (0.7, 1.0)  # brightness of haze that is laid
    haze_beta: tuple[float, float] = (0.5, 1.5)  # its density, for depths 0..1
    haze_colour: tuple[float, float] = (0.92, 1.0)  # its tint, by channel (source 1, 1)
    uneven_share: float = 0.5  # share of samples whose haze lies in banks (source 0)
    wavelength_exponent: tuple[float, float] = (0.0, 1.5)  # thin haze is bluish (source 0, 0)
    clear_share: float = 0.1  # share of samples without haze (source 0)
    jpeg_share: float = 0.3  # share of hazy pictures that come out of a JPEG file (source 0)
    jpeg_quality: tuple[float, float] = (60.0, 95.0)  # of that file
    sensor_noise: float = 0.015  # noise on the hazy picture: standard deviation up to (source 0)
    crop_px: int = 128  # side of a training crop, a multiple of 32 (source 256)
    validation_by: str = "auto"  # held back: scene (folder), tile (source), list; see docs/data.md
    validation_share: float = 0.2  # held back to validate on (source 0.05, and 0.05 to test)

    # --- networks ---
    generator_width: int = 32  # channels at full size; 32 with 6 blocks: 2.0 M weights (source 64)
    blocks: int = 6  # residual blocks of the generator (source 9: 11.4 M weights at width 64)
    dropout: float = 0.5  # share dropped within a block while training, 0..0.9
    norm: str = "none"  # of the generator: none, batch (source), own, group, instance
    output: str = "light"  # light (haze off, + tanh), add (hazy + tanh), half (source), direct
    critic: str = "patch"  # patch (a map of scores) or source (dense layers over that map)
    field_px: int = 70  # a score of that map sees a square of 16, 34, 70, 142 or 286 pixels
    critic_centred: bool = False  # the critic sees pictures as -1..1, not 0..1 (source true)
    critic_width: int = 32  # channels of the critic's first level (source 64)
    critic_norm: str = "none"  # none, batch (source; not with wgan-gp), group, instance

    # --- losses ---
    adversarial: str = "wgan-gp"  # wgan-gp, wgan (clipped), source (sigmoid, not constrained)
    adversarial_weight: float = 0.01  # of the critic's score; 0 = no critic (source 1)
    perceptual_weight: float = 1.0  # of VGG16's features (source 100)
    perceptual_layer: str = "block3_conv3"  # of VGG16; several: a,b,c (three in the source's text)
    perceptual_input: str = "scaled"  # VGG16 sees pictures scaled as it learnt, or raw (source)
    vgg_weights_file: str = ""  # .npz; empty = data/vgg16_block1to3.npz; later layers: a download
    reconstruction_weight: float = 50.0  # of the pixels' own L1, for PSNR (source 0)
    critic_steps: int = 4  # updates of the critic for one of the generator (5 in the source's code)
    critic_turn: str = "after"  # the critic learns after the generator, or before (source) as there
    gradient_penalty_weight: float = 10.0  # wgan-gp: weight of the gradient penalty
    weight_limit: float = 0.01  # wgan: the critic's weights are clipped to +- this

    # --- optimiser ---
    batch_size: int = 4  # pictures a step over all devices (source 2)
    learning_rate: float = 5e-4  # highest rate of the run, 1e-5..1e-3 (source 1e-4, constant)
    discriminator_rate_share: float = 1.0  # the critic's rate, of the generator's
    beta_1: float = 0.5  # Adam: memory of the gradient, 0..0.95 (source 0.9)
    beta_2: float = 0.99  # Adam: memory of its square, 0.5..0.9999 (source 0.999)

    # --- schedule ---
    epochs: int = 0  # length of the run in passes over the pictures; 0 = as steps says (source 50)


# Even white haze, whose pictures come by way of no file: the source's, and that of earlier runs.
_EVEN_HAZE = {
    "haze_colour": (1.0, 1.0),
    "uneven_share": 0.0,
    "wavelength_exponent": (0.0, 0.0),
    "clear_share": 0.0,
    "jpeg_share": 0.0,
    "sensor_noise": 0.0,
}
Deblur.presets = {
    "source": _PLAIN
    | _EVEN_HAZE
    | {
        "crop_px": 256,
        "validation_by": "tile",
        "validation_share": 0.05,
        "generator_width": 64,
        "blocks": 9,
        "norm": "batch",
        "output": "half",
        "critic": "source",
        "critic_centred": True,
        "critic_width": 64,
        "critic_norm": "batch",
        "adversarial": "source",
        "adversarial_weight": 1.0,
        "perceptual_weight": 100.0,
        "perceptual_input": "raw",
        "reconstruction_weight": 0.0,
        "critic_turn": "before",
        "batch_size": 2,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epochs": 50,
    }
}


@settings_class
class GANCloud(Common):
    """Settings of mod_GAN_cloud.py. Pixels of noise are meant for a crop of 64."""

    # --- data ---
    crop_px: int = 64  # side of a training crop, a multiple of 32 (source the same: EuroSAT)
    validation_by: str = "auto"  # held back: scene (folder), tile (source), list; see docs/data.md
    validation_share: float = 0.2  # share of the pictures held back (source 0.3)

    # --- clouds ---
    composite: str = "veil"  # veil (source: noise is opacity and light, darkens) or white cloud
    noise_cell_px: tuple[float, float] = (5.0, 120.0)  # cells of the first layer (source the same)
    noise_octaves: int = 12  # layers, cells of the n-th the n-th part of the first's (source 12)
    noise_persistence: float = 0.5  # weight of a layer relative to the one before (source the same)

    # --- networks ---
    base_width: int = 16  # channels of the U-Net's first level; 16: 1.9 M (source 32: 7.8 M)
    discriminator_width: int = 8  # of the discriminator's; 8: 1.3 M (source 16: 5.0 M)
    discriminator_blocks: tuple[int, int, int, int] = (3, 4, 6, 3)  # a stage (source the same)
    norm: str = "batch"  # of both: none, batch (source), group, instance
    output: str = "add"  # add (cloudy + tanh) or direct (source: the picture itself, by a sigmoid)

    # --- losses ---
    adversarial_weight: float = 1.0  # weight of the adversarial loss (source the same)
    reconstruction_weight: float = 100.0  # weight of the L1 (source the same)

    # --- optimiser ---
    learning_rate: float = 1e-3  # highest rate of the generator, 1e-5..1e-2 (source 1e-4)
    discriminator_rate_share: float = 0.1  # the discriminator's rate, as a share (source the same)
    beta_1: float = 0.5  # Adam: memory of the gradient, 0..0.95 (source 0.9)
    beta_2: float = 0.99  # Adam: memory of its square, 0.5..0.9999 (source 0.999)

    # --- schedule ---
    epochs: int = 0  # passes over the pictures; 0 = as steps says (source 15, over EuroSAT)
    rate_drop_every: int = 0  # a tenth after so many steps (source 2950: 10 epochs of its EuroSAT)


GANCloud.presets = {
    "source": _PLAIN
    | {
        "validation_by": "tile",
        "validation_share": 0.3,
        "base_width": 32,
        "discriminator_width": 16,
        "output": "direct",
        "batch_size": 64,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epochs": 15,
        "rate_drop_every": 2950,
    }
}


@settings_class
class Pix2pix(Common):
    """Settings of mod_pix2pix.py."""

    # --- data ---
    crop_px: int = 128  # side of a training crop, a multiple of 32 (source 256)
    damaged_folder: str = ""  # damaged partners of the clear pictures; empty = raindrops are drawn
    pairs_folder: str = ""  # files A|B, two pictures side by side, instead of the two folders
    direction: str = "a_to_b"  # of pairs: a_to_b (damaged to clear, left to right) or b_to_a
    ground_zoom: tuple[float, float] = (0.7, 2.5)  # window cut, in crops (source .895, .895)

    # --- raindrops ---
    drop_cover: tuple[float, float] = (0.05, 0.3)  # share of the picture that drops take
    drop_radius_px: tuple[float, float] = (3.0, 20.0)  # radius of a drop

    # --- networks ---
    generator_width: int = 32  # of the first level; with 7 levels 7.6 M (source 64: 54.4 M)
    levels: int = 7  # how often the side is halved, 5..8; 2^levels px fit the crop (source 8)
    norm: str = "none"  # of both: none, batch (source), group, instance
    dropout: float = 0.5  # share dropped in three levels, 0..0.9 (source the same)
    used_as_trained: bool = False  # dropout and own statistics when applied, too (source true)
    output: str = "found"  # found (laid over what is damaged), add, half, direct (source)
    upsampling: str = "resize"  # transposed (source; leaves checkerboards) or resize (nearest, 3x3)
    field_px: int = 70  # a score sees a square of 1, 16, 34, 70, 142 or 286 pixels (source 70)
    discriminator_width: int = 32  # channels of its first level; 32: 0.7 M (source 64: 2.8 M)

    # --- losses ---
    adversarial_weight: float = 1.0  # weight of the adversarial loss (source the same)
    reconstruction_weight: float = 200.0  # weight of the L1 (source the same: 100 on -1..1)
    finding_weight: float = 20.0  # output found: weight of the map of what is damaged
    painting_weight: float = 20.0  # output found: weight of the L1 of what is painted there

    # --- optimiser ---
    batch_size: int = 4  # pictures a step over all devices (source 1)
    learning_rate: float = 1e-3  # highest rate of the generator, 1e-5..1e-2 (source 2e-4)
    discriminator_rate_share: float = 0.1  # the discriminator's rate, as a share (source 1)
    beta_2: float = 0.99  # Adam: memory of its square, 0.5..0.9999 (source 0.999)


Pix2pix.presets = {
    "source": _PLAIN
    | {
        "crop_px": 256,
        "ground_zoom": (0.895, 0.895),
        "generator_width": 64,
        "levels": 8,
        "norm": "batch",
        "used_as_trained": True,
        "output": "direct",
        "upsampling": "transposed",
        "discriminator_width": 64,
        "batch_size": 1,
        "learning_rate": 2e-4,
        "discriminator_rate_share": 1.0,
        "beta_2": 0.999,
    }
}


@settings_class
class Colorize(Common):
    """Settings of mod_colorize.py."""

    # --- data ---
    crop_px: int = 128  # side of a training crop, a multiple of 32 (source 256)

    # --- ground: its colours are what is learnt ---
    ground_offset: float = 0.0  # jitter: added to each channel of the ground, +- (source 0)
    ground_tint: float = 0.0  # training: each channel of the ground, +- share (source 0)
    ground_turn: float = 0.0  # training: the ground is turned by up to so many degrees (source 20)

    # --- networks ---
    generator_width: int = 32  # channels of the first level; 32: 2.7 M weights (source 128: 41.8 M)
    levels: int = 6  # how often the generator halves the side, 5..8 (source 6)
    norm: str = "none"  # of the generator: none (source), batch, group, instance
    spectral_norm: bool = True  # keep the kernels of both networks at norm 1 (source true)
    attention_at: int = 8  # self-attention: the generator's at 1/8 of the side; 0 = none (source 4)
    discriminator_width: int = 32  # channels of the first level of all three (source 64)

    # --- losses ---
    reconstruction_weight: float = 10.0  # of the colours' own L1, a* and b* over 128 (source 1)
    feature_weight: float = 3.33  # of the discriminators' features, each of three (source 3.33)
    adversarial_weight: float = 0.33  # of their scores, each of three (source 0.33)
    perceptual_weight: float = 0.0  # of VGG16's features; 1 is a beginning (source 0, an option)
    perceptual_layer: str = "block3_conv3"  # of VGG16; beyond it, Keras downloads
    vgg_weights_file: str = ""  # .npz; empty = the bundled data/vgg16_block1to3.npz

    # --- optimiser ---
    batch_size: int = 8  # pictures a step over all devices
    learning_rate: float = 5e-4  # highest rate of the run, 1e-5..1e-3 (source 2e-4, falling)
    discriminator_rate_share: float = 0.5  # the discriminators' rate, as a share (source 1)
    beta_2: float = 0.99  # Adam: memory of its square, 0.5..0.9999 (source 0.999)
    final_rate_share: float = 0.01  # rate at the end, of the highest (source the same)


_SHARED = ("ground_offset", "ground_tint", "final_rate_share")  # by the source and ours
Colorize.presets = {
    "source": {name: value for name, value in _PLAIN.items() if name not in _SHARED}
    | {
        "crop_px": 256,
        "ground_turn": 20.0,
        "generator_width": 128,
        "attention_at": 4,
        "discriminator_width": 64,
        "reconstruction_weight": 1.0,
        "learning_rate": 2e-4,
        "discriminator_rate_share": 1.0,
        "beta_2": 0.999,
    }
}


# --- one row a setting: its kind (see util/settings.py), and its rule ---------------------------


def _is_colour(text):
    parts = text.split(",")
    return text in ("none", "black", "white") or (
        len(parts) == 3 and all(p.strip().isdecimal() and int(p) <= 255 for p in parts)
    )


def _least_tile_px(settings):
    # Tiles start at multiples of what the deepest level of a network has for a pixel.
    return 2 * settings.apply_margin_px + 32 + 2 * 2 ** getattr(settings, "levels", 5)


_SHARES_ROWS = Rule(
    lambda v, s: v % s.log_every == 0,
    lambda s: (
        f"must be a multiple of log_every ({s.log_every}), so that the scores share its row "
        "in log.csv"
    ),
    beside=("log_every",),
)
_WIDER_THAN_MARGINS = Rule(
    lambda v, s: v >= _least_tile_px(s),
    lambda s: (
        f"must be {_least_tile_px(s)} or more with apply_margin_px = {s.apply_margin_px}, "
        "or nothing of a tile is left"
    ),
    beside=("apply_margin_px",),
)
_WITHIN_ALL_SAMPLES = Rule(
    lambda v, s: v + s.clear_share + s.veil_share <= 1,
    lambda s: (
        f"must leave room for clear_share = {s.clear_share} and veil_share = {s.veil_share}: "
        "together they are 1 at most"
    ),
    beside=("clear_share", "veil_share"),
)
_BESIDE_HEAPS = Rule(
    lambda v, s: not s.cut_folder or v + s.heap_share <= 1,
    lambda s: (
        f"must leave room for heap_share = {s.heap_share} where cut_folder is set: together they "
        "are 1 at most"
    ),
    beside=("heap_share", "cut_folder"),
)
_KNOWN_PRESET = Rule(
    lambda v, s: v == "ours" or v in s.presets,
    lambda s: f"must be one of: {', '.join(['ours', *s.presets])}",
)
_NOT_BATCH_WITH_A_PENALTY = Rule(
    lambda v, s: (v, s.adversarial) != ("batch", "wgan-gp"),
    "must be another one with adversarial = 'wgan-gp', whose penalty is about each picture by "
    "itself; batch norm mixes those of a batch",
    beside=("adversarial",),
)

Common.rows = {
    # every script
    "preset": row(FIXED, _KNOWN_PRESET),
    "clear_folder": row(OTHER_SAMPLES),
    "runs_folder": row(HERE),
    "history_folder": row(HERE),
    "cache_folder": row(HERE),
    "crop_px": row(
        FIXED, rule(lambda v: v >= 64 and v % 32 == 0, "must be a multiple of 32, at least 64")
    ),
    "validation_by": row(AT_ONCE, one_of("auto", "scene", "tile", "list")),
    "validation_share": row(
        FIXED, rule(lambda v: 0 < v < 1, "must lie between 0 and 1, such as 0.2")
    ),
    "validation_samples": row(OTHER_SAMPLES, at_least(1)),
    "max_pixels": row(HERE, at_least(4096)),
    "full_scale": row(OTHER_SAMPLES, at_least(0)),
    "ground_gain": row(OTHER_SAMPLES, between(0, 0.5)),
    "ground_offset": row(OTHER_SAMPLES, between(0, 0.5)),
    "ground_zoom": row(OTHER_SAMPLES, range_within(0.1, 10)),
    "ground_curve": row(OTHER_SAMPLES, between(0, 0.9)),
    "ground_tint": row(OTHER_SAMPLES, between(0, 0.5)),
    "ground_saturation": row(OTHER_SAMPLES, between(0, 1)),
    "ground_pasted": row(OTHER_SAMPLES, between(0, 1)),
    "batch_size": row(OTHER_SAMPLES, at_least(1)),
    "optimizer": row(FIXED, one_of("adam", "muon")),
    "learning_rate": row(
        AT_ONCE, rule(lambda v: 0 < v <= 1, "must be above 0 and at most 1, such as 1e-3")
    ),
    "beta_1": row(AT_ONCE, rule(lambda v: 0 <= v < 1, "must be 0 or more and below 1")),
    "beta_2": row(AT_ONCE, rule(lambda v: 0 <= v < 1, "must be 0 or more and below 1")),
    "epsilon": row(AT_ONCE, rule(lambda v: 0 < v <= 1, "must be above 0, such as 1e-7")),
    "clip_norm": row(AT_ONCE, at_least(0)),
    "tanh_slope": row(AT_ONCE, between(0, 1)),
    "steps": row(AT_ONCE, at_least(1)),
    "epochs": row(AT_ONCE, at_least(0)),
    "warmup_steps": row(AT_ONCE, at_least(0)),
    "final_rate_share": row(AT_ONCE, between(0, 1)),
    "rate_drop_every": row(AT_ONCE, at_least(0)),
    "log_every": row(AT_ONCE, at_least(1)),
    "validate_every": row(AT_ONCE, at_least(1), _SHARES_ROWS),
    "sheet_every": row(AT_ONCE, at_least(1)),
    "save_every": row(AT_ONCE, at_least(1)),
    "keep_checkpoints": row(AT_ONCE, at_least(1)),
    "devices": row(HERE),
    "precision": row(HERE, one_of("float32", "mixed_bfloat16")),
    "sample_processes": row(HERE, at_least(0)),
    "jit_compile": row(HERE),
    "apply_tile_px": row(HERE, between(64, 16384), _WIDER_THAN_MARGINS),
    "apply_margin_px": row(HERE, between(0, 1024)),
    "clear_below": row(HERE, between(0, 0.5)),
    "cloud_white": row(HERE, between(0.1, 1)),
    "dimmed": row(HERE, between(0, 0.5)),
    "seed": row(OTHER_SAMPLES, between(0, 2**31 - 1)),
    # opacity of cloud
    "cloud_folder": row(OTHER_SAMPLES),
    "noise_share": row(OTHER_SAMPLES, between(0, 1)),
    "cloud_window_px": row(OTHER_SAMPLES, range_within(8, 100_000)),
    "noise_cell_px": row(OTHER_SAMPLES, range_within(2, 100_000)),
    "noise_octaves": row(OTHER_SAMPLES, between(1, 20)),
    "noise_persistence": row(OTHER_SAMPLES, between(0, 1)),
    "noise_lacunarity": row(OTHER_SAMPLES, between(1.1, 10)),
    # cloud over ground
    "clear_share": row(OTHER_SAMPLES, between(0, 1)),
    "veil_share": row(OTHER_SAMPLES, between(0, 1)),
    "cumulus_share": row(OTHER_SAMPLES, between(0, 1), _WITHIN_ALL_SAMPLES),
    "greatest_opacity": row(OTHER_SAMPLES, range_within(0, 2)),
    "layer_own_share": row(OTHER_SAMPLES, between(0, 1)),
    "cumulus_cover": row(OTHER_SAMPLES, range_within(0.001, 1)),
    "cumulus_cell_px": row(OTHER_SAMPLES, range_within(2, 100_000)),
    "cumulus_edge": row(OTHER_SAMPLES, range_within(0.01, 10)),
    "cumulus_octaves": row(OTHER_SAMPLES, between(1, 20)),
    "cumulus_persistence": row(OTHER_SAMPLES, between(0, 1)),
    "heap_share": row(OTHER_SAMPLES, between(0, 1)),
    "cut_folder": row(OTHER_SAMPLES),
    "cut_share": row(OTHER_SAMPLES, between(0, 1), _BESIDE_HEAPS),
    "haze_share": row(OTHER_SAMPLES, between(0, 1)),
    "haze_opacity": row(OTHER_SAMPLES, range_within(0, 1)),
    "opacity_offset": row(OTHER_SAMPLES, range_within(-1, 1)),
    "cloud_brightness": row(OTHER_SAMPLES, range_within(0, 2)),
    "cloud_colour": row(OTHER_SAMPLES, range_within(0, 1)),
    "cloud_shading": row(OTHER_SAMPLES, between(0, 1)),
    "cloud_relief": row(OTHER_SAMPLES, between(0, 1)),
    "wavelength_exponent": row(OTHER_SAMPLES, range_within(0, 4)),
    "shadow_share": row(OTHER_SAMPLES, between(0, 1)),
    "shadow_depth": row(OTHER_SAMPLES, range_within(0, 1)),
    "channel_shift_px": row(OTHER_SAMPLES, between(0, 20)),
    "blur_beneath_px": row(OTHER_SAMPLES, between(0, 20)),
    "picked_share": row(OTHER_SAMPLES, between(0, 1)),
    "picked_px": row(OTHER_SAMPLES, between(0, 20)),
    "jpeg_share": row(OTHER_SAMPLES, between(0, 1)),
    "jpeg_quality": row(OTHER_SAMPLES, range_within(1, 100)),
    "sensor_noise": row(OTHER_SAMPLES, between(0, 0.5)),
    "sizes": row(HERE, one_of(1, 2)),
    "turns": row(HERE, one_of(1, 2, 8)),
    "pixel_m": row(HERE, at_least(0)),
    "opacity_weight": row(AT_ONCE, at_least(0)),
    "seen_weight": row(AT_ONCE, at_least(0)),
    "hidden_weight": row(AT_ONCE, at_least(0)),
    "distance": row(AT_ONCE, one_of("l1", "l2", "l1_rms")),
    "faint_weight": row(AT_ONCE, between(0, 1)),
    # mod_defog.py
    "base_width": row(FIXED, between(1, 256)),
    "head": row(FIXED, one_of("unmix", "direct")),
    "Defog.head": row(FIXED, one_of("light", "unmix", "direct")),
    "norm": row(FIXED, one_of("none", "batch", "own", "group", "instance")),
    "upsampling": row(FIXED, one_of("transposed", "resize")),
    # mod_mend.py
    "stage1_width": row(FIXED, between(1, 256)),
    "stage2_width": row(FIXED, between(1, 256)),
    "stage2_sees": row(FIXED, one_of("picture", "ground")),
    "stage2_rate_share": row(AT_ONCE, between(0, 10)),
    "gate_loss": row(AT_ONCE, at_least(0)),
    # repainting holes
    "generator": row(FIXED, one_of("gated", "source")),
    "painting": row(FIXED, one_of("membrane", "fill", "direct")),
    "skips": row(FIXED),
    "towers": row(FIXED, one_of("both", "global", "local")),
    "discriminator_head": row(FIXED, one_of("dense", "tensor")),
    "detail_gain": row(FIXED, between(1, 100)),
    "spectral_norm": row(FIXED),
    "adversarial": row(FIXED, one_of("gan", "dcgan", "lsgan", "wgan", "wgan-gp")),
    "adversarial_weight": row(AT_ONCE, at_least(0)),
    "feature_weight": row(AT_ONCE, at_least(0)),
    "reconstruction_weight": row(AT_ONCE, at_least(0)),
    "rim_px": row(OTHER_SAMPLES, between(0, 1000)),
    "reconstruction_steps": row(AT_ONCE, at_least(0)),
    "adversarial_rise_steps": row(AT_ONCE, at_least(0)),
    "balance_ratio": row(
        AT_ONCE, rule(lambda v: v == 0 or v > 1, "must be above 1, or 0 for no balance")
    ),
    "balance_window": row(FIXED, at_least(1)),
    "discriminator_rate_share": row(AT_ONCE, between(0, 10)),
    "critic_steps": row(AT_ONCE, between(1, 20)),
    "gradient_penalty_weight": row(AT_ONCE, at_least(0)),
    "weight_limit": row(
        AT_ONCE, rule(lambda v: 0 < v <= 1, "must be above 0 and at most 1, such as 0.01")
    ),
    "past_size": row(FIXED, at_least(0)),
    "past_share": row(AT_ONCE, between(0, 1)),
    "past_bits": row(FIXED, one_of(8, 32)),
    "average": row(FIXED, rule(lambda v: 0 <= v < 1, "must be 0 or more and below 1")),
    "hole_colour": row(
        HERE, rule(_is_colour, "must be none, black, white, or three values 0..255: 255,0,255")
    ),
    "hole_margin_px": row(HERE, between(0, 1000)),
    "hole_opacity_from": row(HERE, rule(lambda v: 0 < v <= 1, "must be above 0 and at most 1")),
    # mod_GAN_spot.py
    "spot_share": row(OTHER_SAMPLES, between(0.1, 0.9)),
    "spot_width_share": row(
        OTHER_SAMPLES,
        rule(lambda v: v == 0 or 0.1 <= v <= 0.9, "must lie between 0.1 and 0.9, or be 0"),
    ),
    "spot_place": row(
        OTHER_SAMPLES,
        rule(lambda v: 0 <= min(v) <= max(v) <= 1, "must be two numbers between 0 and 1"),
    ),
    "spot_anywhere": row(OTHER_SAMPLES),
    # mod_GAN_poly.py
    "polygon_vertices": row(OTHER_SAMPLES, between(3, 100)),
    "edge_px": row(OTHER_SAMPLES, between(1, 64)),
    "cloud_hole_share": row(OTHER_SAMPLES, between(0, 1)),
    "cleared_share": row(OTHER_SAMPLES, between(0, 1)),
    # mod_deblurgan.py
    "hazy_folder": row(OTHER_SAMPLES),
    "depth_folder": row(OTHER_SAMPLES),
    "airlight": row(OTHER_SAMPLES, range_within(0, 1)),
    "haze_beta": row(OTHER_SAMPLES, range_within(0, 10)),
    "haze_colour": row(OTHER_SAMPLES, range_within(0, 1)),
    "uneven_share": row(OTHER_SAMPLES, between(0, 1)),
    "generator_width": row(FIXED, between(1, 256)),
    "blocks": row(FIXED, between(1, 100)),
    "dropout": row(AT_ONCE, between(0, 0.9)),
    "output": row(FIXED, one_of("add", "light", "half", "direct")),
    "critic": row(FIXED, one_of("patch", "source")),
    "field_px": row(FIXED, one_of(16, 34, 70, 142, 286)),
    "critic_centred": row(FIXED),
    "critic_width": row(FIXED, between(1, 256)),
    "critic_norm": row(
        FIXED, one_of("none", "batch", "group", "instance"), _NOT_BATCH_WITH_A_PENALTY
    ),
    "perceptual_weight": row(AT_ONCE, at_least(0)),
    "perceptual_layer": row(AT_ONCE),
    "perceptual_input": row(AT_ONCE, one_of("scaled", "raw")),
    "critic_turn": row(AT_ONCE, one_of("after", "before")),
    "vgg_weights_file": row(AT_ONCE),
    # mod_GAN_cloud.py
    "composite": row(OTHER_SAMPLES, one_of("veil", "white")),
    "discriminator_width": row(FIXED, between(1, 256)),
    "discriminator_blocks": row(
        FIXED, rule(lambda v: min(v) >= 1, "must be four numbers, 1 or more")
    ),
    "GANCloud.output": row(FIXED, one_of("add", "direct")),
    # mod_pix2pix.py
    "damaged_folder": row(OTHER_SAMPLES),
    "pairs_folder": row(OTHER_SAMPLES),
    "direction": row(OTHER_SAMPLES, one_of("a_to_b", "b_to_a")),
    "drop_cover": row(OTHER_SAMPLES, range_within(0, 1)),
    "drop_radius_px": row(OTHER_SAMPLES, range_within(1, 1000)),
    "levels": row(FIXED, between(5, 8)),
    "used_as_trained": row(AT_ONCE),
    "Pix2pix.output": row(FIXED, one_of("found", "add", "half", "direct")),
    "finding_weight": row(AT_ONCE, at_least(0)),
    "painting_weight": row(AT_ONCE, at_least(0)),
    "Pix2pix.field_px": row(FIXED, one_of(1, 16, 34, 70, 142, 286)),
    "Deblur.adversarial": row(FIXED, one_of("wgan-gp", "wgan", "source")),
    # mod_colorize.py
    "ground_turn": row(OTHER_SAMPLES, between(0, 180)),
    "attention_at": row(FIXED, one_of(0, 2, 4, 8, 16, 32)),
}

# Who says how many steps a run has does not want the epochs of a preset, nor those above.
Common.instead = {"steps": "epochs"}
# What settings were called before, for runs and checkpoints from then.
Common.renamed = {"history_size": "past_size", "history_share": "past_share"}
# What they were trained with where a setting is younger than they are, or had another default.
Common.unsaid = {
    "preset": "ours",
    "optimizer": "adam",
    "upsampling": "transposed",
    # mod_GAN_spot.py, mod_GAN_poly.py
    "generator": "source",
    "painting": "fill",
    "detail_gain": 1.0,
    "feature_weight": 0.0,
    "rim_px": 0.0,
    "past_size": 64,
    "past_bits": 32,
    "average": 0.0,
    "cleared_share": 0.0,
}
Defog.unsaid = Common.unsaid | {"base_width": 8, "head": "unmix"}
Deblur.unsaid = Common.unsaid | _EVEN_HAZE | {"field_px": 142, "output": "add"}
Pix2pix.unsaid = Common.unsaid | {
    "norm": "batch",
    "output": "add",
    "discriminator_rate_share": 1.0,
}
