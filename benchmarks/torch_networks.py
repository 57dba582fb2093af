"""The networks in PyTorch, from copies of Keras' weights: what in_torch.py's steps are made of.

For the settings that are the default in configure.py; activations are bent in place. Pictures are
(B, C, H, W).
"""

import torch
from torch.nn import functional as F


class Network:
    """A copy of a Keras network's weights, by the names of its layers.

    Parameters
    ----------
    weights : dict "layer/variable" -> array
    layers : dict layer -> dict
        Numbers of each layer's configuration, in the order of Keras.
    trained : list of str
        Names of the weights that are.
    layout : torch.memory_format
        Of the kernels.
    """

    def __init__(self, weights, layers, trained, layout):
        self.layers, self.weights, self.drops = layers, {}, False
        for name, array in weights.items():
            weight = torch.from_numpy(array.copy())
            if weight.ndim == 4:  # (height, width, in, out), or (.., out, in) if transposed
                weight = weight.permute(3, 2, 0, 1).contiguous(memory_format=layout)
            elif name.endswith("/kernel"):
                weight = weight.T.contiguous()
            self.weights[name] = weight.requires_grad_(name in trained)
        self.parameters = [self.weights[name] for name in trained]
        self.bounded = [
            (self.weights[f"{name.rpartition('/')[0]}/kernel"], vector)
            for name, vector in self.weights.items()
            if name.endswith("/vector_u")
        ]

    def __contains__(self, name):
        return name in self.layers

    def _of(self, name):
        return self.weights[f"{name}/kernel"], self.weights[f"{name}/bias"]

    def convolution(self, x, name, stride=1, padding=0, dilation=1):
        return F.conv2d(x, *self._of(name), stride, padding, dilation)

    def transposed(self, x, name, stride=1, padding=0):
        return F.conv_transpose2d(x, *self._of(name), stride=stride, padding=padding)

    def dense(self, x, name):
        return F.linear(x, *self._of(name))

    def normalised(self, x, name, training):
        """Apply the batch norm that follows a layer, if there is one.

        PyTorch's average of the variance is of the unbiased one, Keras' is not: no step uses it.
        """
        layer = self.layers.get(f"{name}_norm")
        if layer is None:
            return x
        names = ("moving_mean", "moving_variance", "gamma", "beta")
        found = [self.weights[f"{name}_norm/{part}"] for part in names]
        return F.batch_norm(x, *found, training, 1.0 - layer["momentum"], layer["epsilon"])

    def dropped(self, x, name):
        return F.dropout(x, self.layers[f"{name}_dropout"]["rate"]) if self.drops else x

    def up(self, x, name):
        """Double the side, as `util.networks.blocks.up` does."""
        if self.weights[f"{name}/kernel"].shape[-1] == 3:
            return leaky(self.convolution(twice_the_side(x), name, padding=1))
        return leaky(self.transposed(x, name, 2, 1))

    def bound(self):
        """Bring the kernels nearer to a largest singular value of 1, as a pass in training does."""
        with torch.no_grad():
            for kernel, vector in self.bounded:
                matrix = as_matrix(kernel)
                found = F.normalize(vector @ matrix) @ matrix.T
                value = torch.linalg.vector_norm(found)
                vector.copy_(found / value)
                kernel.div_(value)


def as_matrix(kernel):
    """Return a view of a kernel (a, b, h, w) as (a, b h w), the columns as they lie in memory."""
    last = kernel.is_contiguous(memory_format=torch.channels_last)
    return (kernel.permute(0, 2, 3, 1) if last else kernel).flatten(1)


def leaky(x):
    return F.leaky_relu(x, 0.2, inplace=True)


def relu(x):
    return F.relu(x, inplace=True)


def leaky_tanh(x, slope):
    """Return tanh, whose gradient has a slope added, as `util.networks.blocks.leaky_tanh`."""
    return torch.tanh(x) + slope * (x - x.detach())


def squash(x, slope):
    return 0.505 * leaky_tanh(x, slope) + 0.5


def twice_the_side(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


def reflected(x, width):
    """Pad by reflection; where a side is no longer than that, by reflecting again."""
    if min(x.shape[2:]) > width:
        return F.pad(x, (width,) * 4, mode="reflect")
    for axis in (2, 3):
        period = max(2 * (x.shape[axis] - 1), 1)
        places = torch.arange(-width, x.shape[axis] + width).abs() % period
        x = x.index_select(axis, torch.minimum(places, period - places))
    return x


def padded(x):
    """Pad for a kernel of 4 without strides as Keras does, less before than behind."""
    return F.pad(x, (1, 2, 1, 2))


def half(x):
    """Pad for a kernel of 3 with strides of 2 as Keras does: what lacks, on one side."""
    return F.pad(x, (0, 1, 0, 1))


def unet(net, picture):
    """Return what `util.networks.unet.unet` finds, (B, C, H, W), linear."""
    x, levels = picture, []
    for level in range(1, 6):
        x = leaky(net.convolution(x, f"down{level}", 2, 1))
        levels.append(x)
    x = reflected(x, 2)
    for i in (1, 2):
        x = leaky(net.convolution(x, f"middle{i}"))
    for level in range(5, 0, -1):
        x = net.up(torch.cat([x, levels[level - 1]], 1), f"up{level}")
    x = leaky(net.convolution(torch.cat([x, picture], 1), "head1", padding=1))
    return net.convolution(x, "head2", padding=1)


def unmixed(picture, opacity, light=1.0):
    return (picture - opacity * light) / (1.0 - opacity).clamp(min=0.2)


def without_light(found, picture, slope):
    """Return opacity (B, 1, H, W) and ground (B, 3, H, W) by the head "light"."""
    light = 0.825 + 0.325 * leaky_tanh(found[:, 4:] + 0.5, slope)
    most = (picture / light).amin(1, keepdim=True).clamp(max=1.0)
    opacity = squash(found[:, :1], slope) * most
    return opacity, unmixed(picture, opacity, light) + leaky_tanh(found[:, 1:4], slope)


def smooth_fill(holed, known, levels, sweeps):
    """Fill holes as `util.networks.blocks.SmoothFill` does; (B, C, H, W) -> the same."""
    pyramid = [(holed, known)]
    for _ in range(levels):
        pyramid.append([F.avg_pool2d(x, 2) for x in pyramid[-1]])
    colour, weight = (x.mean(dim=(2, 3), keepdim=True) for x in pyramid[-1])
    filled = colour / weight.clamp_min(1e-6)
    for level in range(levels, -1, -1):
        colour, weight = pyramid[level]
        if level < levels:
            size = colour.shape[2:]
            filled = F.interpolate(filled, size=size, mode="bilinear", align_corners=False)
        if level:
            some = (weight > 0.0).to(weight.dtype)
            colour, weight = some * colour / weight.clamp_min(1e-6), some
        lacks = 1.0 - weight
        filled = torch.addcmul(colour, lacks, filled)
        for _ in range(sweeps * min(2**level, 8)):
            around = F.avg_pool2d(filled, 3, 1, 1, count_include_pad=False)
            filled = torch.addcmul(colour, lacks, around)
    return filled


def paint(net, holed, hole, noise):
    """Return what `util.networks.inpainting.inpainting_generator` paints, (B, 3, H, W)."""
    fill = net.layers["fill"]
    filled = smooth_fill(holed, 1.0 - hole, fill["levels"], fill["sweeps"])
    seen = torch.cat([filled, hole, noise * hole], 1)
    x, levels = seen, []
    for level in (1, 2, 3):
        found, gate = net.convolution(x, f"down{level}", 2, 1).chunk(2, 1)
        x = F.leaky_relu(found, 0.2) * torch.sigmoid(gate)
        levels.append(x)
    block = 1
    while (name := f"middle{block}_wide") in net:
        reach = net.layers[name]["dilation_rate"][0]
        found = leaky(net.convolution(x, name, padding=reach, dilation=reach))
        x = x + leaky(net.convolution(found, f"middle{block}_near", padding=1))
        block += 1
    for level in (3, 2, 1):
        x = net.up(torch.cat([x, levels[level - 1]], 1), f"up{level}")
    x = leaky(net.transposed(torch.cat([x, seen], 1), "head1", padding=1))
    return filled + net.convolution(x, "head2", padding=1)


def judge(net, picture, hole):
    """Return scores (B, 1) and maps of `util.networks.inpainting.two_tower_discriminator`."""
    mean = F.avg_pool2d(picture, 5, 1, 2, count_include_pad=False)
    picture = mean - 0.5 + net.layers["detail"]["gain"] * (picture - mean)
    maps = []
    for tower, x in (("global", picture), ("local", picture * hole)):
        for level in range(1, 6):
            x = leaky(net.convolution(x, f"{tower}_down{level}", 2, 1))
            maps.append(x)
    # Flattened in the order of Keras, so that the dense weights fit.
    x = torch.cat([maps[4], maps[9]], 1).permute(0, 2, 3, 1).flatten(1)
    return net.dense(leaky(net.dense(x, "head1")), "head2"), maps


def pool_unet(net, picture, slope, training):
    """Return what `util.networks.gan_cloud.pool_unet` makes, (B, 3, H, W)."""

    def twice(x, name):
        for at in (f"{name}_conv1", f"{name}_conv2"):
            x = relu(net.normalised(net.convolution(x, at, padding=1), at, training))
        return x

    x, levels = picture, []
    for level in range(4):
        x = twice(x, f"down{level}")
        levels.append(x)
        x = F.max_pool2d(x, 2)
    x = twice(x, "middle")
    for level in (3, 2, 1, 0):
        x = torch.cat([net.transposed(x, f"up{level}_size", 2), levels[level]], 1)
        x = twice(x, f"up{level}")
    return picture + leaky_tanh(net.convolution(x, "last", padding=1), slope)


def residual(net, picture, training):
    """Return the scores of `util.networks.gan_cloud.residual_discriminator`, (B, 1)."""

    def convolution(x, name, *how):
        return net.normalised(net.convolution(x, name, *how), name, training)

    x = F.max_pool2d(relu(convolution(picture, "first", 1, 1)), 2)
    for stage in (1, 2, 3, 4):
        block = 1
        while (at := f"stage{stage}_block{block}") in net:
            halved = f"{at}_project" in net
            how = (half(x), f"{at}_conv1", 2) if halved else (x, f"{at}_conv1", 1, 1)
            y = convolution(relu(convolution(*how)), f"{at}_conv2", 1, 1)
            if halved:
                x = convolution(x, f"{at}_project", 2)
            x = relu(x + y)
            block += 1
    return net.dense(x.mean((2, 3)), "logit")


def translate(net, picture, slope):
    """Return what `util.networks.pix2pix.translator` makes, paints, and its map's logits."""
    x = centred = 2.0 * picture - 1.0
    kept, levels = [], 0
    while (name := f"down{levels + 1}") in net:
        x = net.convolution(leaky(x) if kept else x, name, 2, 1)
        kept.append(x)
        levels += 1
    # The twins have become leaky in place. That leaves their ReLU what it is.
    for level in range(levels, 0, -1):
        x = relu(x if level == levels else torch.cat([x, kept[level - 1]], 1))
        x = twice_the_side(x)
        x = x if level > 1 else torch.cat([x, centred], 1)
        x = net.convolution(x, f"up{level}", padding=1)
        if f"up{level}_dropout" in net:
            x = net.dropped(x, f"up{level}")
    logit, painted = x[:, :1] - 1.0, squash(x[:, 1:], slope)
    return picture + torch.sigmoid(logit) * (painted - picture), painted, logit


def patches(net, picture):
    """Return the map of scores of `util.networks.patchgan.patch_maps`, (B, 1, h, w)."""
    x, level = 2.0 * picture - 1.0 if "centre" in net else picture, 1
    while (name := f"down{level}") in net:
        x = leaky(net.convolution(x, name, 2, 1))
        level += 1
    return net.convolution(padded(leaky(net.convolution(padded(x), "wide"))), "scores")


def dehaze(net, hazy, slope):
    """Return what `util.networks.deblurgan.generator` makes of hazy pictures, (B, 3, H, W)."""
    x = relu(net.convolution(reflected(2.0 * hazy - 1.0, 3), "first"))
    for level in (1, 2):
        x = relu(net.convolution(half(x), f"down{level}", 2))
    block = 1
    while (name := f"block{block}") in net:
        y = relu(net.convolution(reflected(x, 1), f"{name}_conv1"))
        x = x + net.convolution(reflected(net.dropped(y, name), 1), f"{name}_conv2")
        block += 1
    for level in (2, 1):
        x = relu(net.convolution(twice_the_side(x), f"up{level}", padding=1))
    return without_light(net.convolution(reflected(x, 3), "last"), hazy, slope)[1]


def features(net, picture, mean):
    """Return the features of `util.networks.vgg16.vgg16_features`, (B, C, h, w)."""
    x = picture.flip(1) * 255.0 - mean
    for name in net.layers:
        if name.endswith("_pool"):
            x = F.max_pool2d(x, 2)
        elif "_conv" in name:
            x = relu(net.convolution(x, name, padding=1))
    return x


def attended(net, x, name):
    """Add what each place finds at the others, as `util.networks.attention.SelfAttention`."""
    places = x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, H W, C)
    query, key, value = (net.dense(places, f"{name}/{n}") for n in ("query", "key", "value"))
    found = torch.softmax(query @ key.transpose(1, 2), -1) @ value
    found = found.transpose(1, 2).reshape(x.shape)
    return torch.addcmul(x, net.weights[f"{name}/gamma"], found)


def colours(net, lightness, attention_at):
    """Return what `util.networks.colorize.colour_generator` finds, (B, 2, H, W)."""
    x, twins = lightness, []
    while (name := f"down{len(twins) + 1}") in net:
        x = leaky(net.convolution(x, name, 2, 1))
        twins.append(x)
    for level in range(len(twins), 0, -1):
        if attention_at == 2**level:
            x = attended(net, x, "attention")
        x = twice_the_side(x)
        if level > 1:
            x = relu(net.convolution(padded(x), f"up{level}"))
            x = torch.cat([x, twins[level - 2]], 1)
    return torch.tanh(net.convolution(x, "last", padding=3))


def scales(net, picture):
    """Return what each scale of `util.networks.multiscale` finds: lists of (B, c, h, w)."""
    found = []
    for scale in (1, 2, 3):
        x, maps = picture if scale == 1 else F.avg_pool2d(picture, 2 ** (scale - 1)), []
        for level in (1, 2, 3, 4):
            name = f"scale{scale}_level{level}"
            maps.append(net.convolution(*((x, name, 2, 1) if level < 4 else (padded(x), name))))
            x = F.leaky_relu(maps[-1], 0.2)  # not in place: the maps are compared as they are
            if level == (2 if scale == 1 else 1):
                x = attended(net, x, f"scale{scale}_attention")
        found.append([*maps, net.convolution(padded(x), f"scale{scale}_scores")])
    return found


def lab_from_rgb(rgb, matrix, constants):
    """Return L*, a*, b* as `util.networks.lab.lab_from_rgb` does, (B, 3, H, W)."""
    epsilon, kappa, shift = constants
    bent = ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    linear = torch.where(rgb > 0.04045, bent, rgb / 12.92)
    xyz = torch.einsum("bchw,dc->bdhw", linear, matrix)
    root = xyz.clamp(min=epsilon) ** (1 / 3)
    x, y, z = torch.where(xyz > epsilon, root, kappa * xyz + shift).unbind(1)
    return torch.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], 1)
