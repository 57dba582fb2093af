"""Run a network over a picture of any size, in overlapping tiles, a band of rows at a time.

A picture is padded by reflection to what the network can take. If it is small enough it goes
through whole. Otherwise it is cut into tiles of one size that overlap; in each overlap the
outermost `margin_px` of a tile, where the network misses what lies beyond the tile's edge, is
thrown away, and what remains fades from one tile into the next by a raised cosine. Tiles start
at multiples of the network's stride, so that every pixel meets the same grid as in the whole
picture, and at the picture's border a tile sees just what the whole picture would show it.

The result of a U-Net (util.networks.unet) without norm, or with batch norm, thus equals that of
the whole picture, exactly but for rounding, with the default margin of 160: no pixel sees further
than 159. What less would do, measured with mod_defog.py (no norm) on three scenes: greatest
difference of any pixel, in steps of 1/255, by its distance from a tile's edge

    distance             0-31   32-63  64-95  96-127  128-159  160 and more
    after 400 steps      86     21     7.7    0.66    0.01     0
    after 6,000 steps    115    79     45     28      1.9      0

With this margin and tiles of at most 2304 x 2304 pixels the overlaps add 28 % to the network's
work at 4096 x 4096, 42 % at 10,000 x 10,000, nothing up to 2304 x 2304; where a U-Net alone is at
work there is a way without them (util.restore.by_rows). Group and instance norm look at a whole
tile, so there each tile has its own result. So does self-attention: with mod_colorize.py after 300
short steps, 3 tiles against the whole of two strips of 1536 x 256, 99 % of the pixels differ by
less than .06 and .34 of 1/255; with the attention ten times as strong by less than .7 and 4,
nowhere by more than 15; without it by nothing. Lightness does not differ.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np

from util.pictures.pixels import as_float, top_of

BLEND_PX = 32  # least width over which two tiles fade into each other
# Memory of a pixel in a row of finished tiles, 16 bytes, over that of one in the tile that a U-Net
# of base width 8 has in hand: measured, 256 bytes.
ROW_SHARE = 1 / 16


@dataclass(frozen=True)
class Plan:
    """Where the tiles of a picture lie; all figures in pixels of the padded picture.

    height, width : int
        Of the padded picture; the picture begins at `above`, `before`.
    tile_height, tile_width : int
    tops, lefts : tuple of int
        Every pair of them is a tile.
    """

    height: int
    width: int
    above: int
    before: int
    tile_height: int
    tile_width: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @property
    def tiles(self):
        """How many tiles there are."""
        return len(self.tops) * len(self.lefts)

    @property
    def work(self):
        """Pixels that the network goes through, those of overlaps as often as they are."""
        return self.tiles * self.tile_height * self.tile_width


def tiling(settings):
    """Return the arguments of `plan` and `bands` that the settings hold."""
    multiple = 2 ** getattr(settings, "levels", 5)  # of most networks: they halve the side 5 times
    sides = {"tile_px": settings.apply_tile_px, "margin_px": settings.apply_margin_px}
    return {**sides, "multiple": multiple}


def plan(height, width, *, tile_px, margin_px, multiple=32, least_px=64):
    """Choose the tiles for a picture: of at most tile_px x tile_px pixels each, least work.

    Tiles need not be square: full-width bands, or a picture in one piece, are often cheapest.

    Parameters
    ----------
    height, width : int
        Of the picture, 1 or more.
    tile_px : int
        The memory of a step: a tile has at most the square of this in pixels, less for a row of
        tiles that has to be kept.
    margin_px : int
        What is thrown away of a tile at each inner edge.
    multiple : int
        Sides and places of tiles are multiples of this.
    least_px : int
        The padded picture's sides are no shorter.

    Raises
    ------
    ValueError
        The picture has no pixels, or tile_px leaves nothing of a tile between its margins.
    """
    if min(height, width) < 1:
        raise ValueError(f"a picture of {height} x {width} has no pixels")

    def up(side):
        return ceil(side / multiple) * multiple

    full_height, full_width = up(max(height, least_px)), up(max(width, least_px))
    overlap = up(2 * margin_px + BLEND_PX)
    if tile_px < overlap + multiple:
        raise ValueError(
            f"tile_px = {tile_px}: must be {overlap + multiple} or more (margin_px = {margin_px})"
        )

    def tile_of(full, count):
        return min(full, up((full + (count - 1) * overlap) / count))

    def cheapest(row_share):
        best = None
        for across in range(1, full_width // multiple + 1):
            tile_width = tile_of(full_width, across)
            if across > 1 and tile_width <= overlap:
                break
            row = full_width * row_share if across > 1 else 0
            room = int(tile_px * tile_px / (tile_width + row)) // multiple * multiple
            if room >= full_height:
                down, tile_height = 1, full_height
            elif room > overlap:
                down = ceil((full_height - overlap) / (room - overlap))
                tile_height = tile_of(full_height, down)
            else:
                continue
            work = across * down * tile_width * tile_height
            if best is None or work < best[0]:
                best = work, tile_height, tile_width, down, across
        return best

    # Where tiles are so small that a row of them takes more than they do, only they count.
    _, tile_height, tile_width, down, across = cheapest(ROW_SHARE) or cheapest(0)

    def starts(full, tile, count):
        # The last tile ends with the picture; rounding up the tile has made room for that.
        return tuple(sorted({min(i * (tile - overlap), full - tile) for i in range(count)}))

    return Plan(
        height=full_height,
        width=full_width,
        above=(full_height - height) // 2,
        before=(full_width - width) // 2,
        tile_height=tile_height,
        tile_width=tile_width,
        tops=starts(full_height, tile_height, down),
        lefts=starts(full_width, tile_width, across),
    )


def ramp(overlap_px, margin_px):
    """Return the weight of the later of two tiles across their overlap, float32 (overlap_px,).

    0 over the first margin_px, then a raised cosine, 1 over the last margin_px. The earlier tile
    has the rest, so the weights sum to 1.
    """
    at = (np.arange(overlap_px) + 0.5 - margin_px) / (overlap_px - 2 * margin_px)
    return (0.5 - 0.5 * np.cos(np.pi * np.clip(at, 0, 1))).astype(np.float32)


class Part:
    """A part of whatever can be sliced: nothing is read before the part itself is sliced."""

    def __init__(self, source, rows, columns):
        self._source, self._starts = source, (rows.start, columns.start)
        self.shape = (rows.stop - rows.start, columns.stop - columns.start, *source.shape[2:])
        self.dtype = source.dtype

    def __getitem__(self, at):
        starts = zip(self._starts, at, strict=True)
        return self._source[tuple(slice(n + s.start, n + s.stop) for n, s in starts)]


def bands(function, pictures, *, white=None, progress=None, **how):
    """Run `function` over a picture tile by tile; give the result in bands, from the top down.

    In memory are one tile and one row of tiles, whatever the picture's height.

    Parameters
    ----------
    function : callable
        ``function(batch) -> dict name -> (1, h, w, C)`` float32, NumPy or tensor, for a batch
        dict name -> float32 (1, h, w, C), 0..1; the same for the same batch.
    pictures : dict name -> (H, W, C)
        Of one size; uint8, uint16, float32 or bool. Arrays, or whatever else has shape and dtype
        and gives an array for ``picture[rows, columns]`` with two slices: it is read tile by tile.
    white : float, optional
        What 1.0 is in uint8 and uint16 [the type's greatest value]; what is above it is 1.0, too.
    progress : callable, optional
        Called after each tile.
    how : int
        tile_px, margin_px, multiple and least_px; see `plan`.

    Yields
    ------
    (int, dict name -> float32 (rows, W, C))
        The band's first row, and its results; together the bands cover each row once. The arrays
        are used again for the next band.
    """
    height, width = next(iter(pictures.values())).shape[:2]
    if any(picture.shape[:2] != (height, width) for picture in pictures.values()):
        raise ValueError("the pictures differ in size")
    p, margin_px = plan(height, width, **how), how["margin_px"]
    tile = p.tile_height, p.tile_width
    carry = {}  # the last rows of the row of tiles above
    strip = {}  # the row of tiles in hand
    blank = None  # what is made of a black tile, as there are beside a turned scene: made once
    for i, top in enumerate(p.tops):
        for j, left in enumerate(p.lefts):
            batch = {
                name: _as_float(_block(picture, top - p.above, left - p.before, tile), white)[None]
                for name, picture in pictures.items()
            }
            shared = p.lefts[j - 1] + p.tile_width - left if j else 0
            is_blank = not any(values.any() for values in batch.values())
            made = blank if is_blank and blank else function(batch)
            if is_blank:
                blank = {name: np.array(found) for name, found in made.items()}
            for name, found in made.items():
                found = np.asarray(found)[0]
                if found.shape[:2] != tile:
                    raise ValueError(f"{name} {found.shape} does not fit the tile")
                if len(p.lefts) == 1:
                    strip[name] = found
                    continue
                if name not in strip:
                    strip[name] = np.empty((p.tile_height, p.width, found.shape[2]), np.float32)
                row = strip[name]
                if shared:
                    weight = ramp(shared, margin_px)[:, None]
                    _fade(row[:, left : left + shared], found[:, :shared], weight)
                row[:, left + shared : left + p.tile_width] = found[:, shared:]
            if progress:
                progress()
        shared = p.tops[i - 1] + p.tile_height - top if i else 0
        last = i + 1 == len(p.tops)
        done = p.tile_height if last else p.tops[i + 1] - top
        first = max(top, p.above)
        end = min(top + done, p.above + height)
        result, kept = {}, {}
        for name, row in strip.items():
            if shared:
                row = row if row.flags.writeable else row.copy()
                weight = ramp(shared, margin_px)[:, None, None]
                above = carry[name]
                _fade(above, row[:shared], weight)
                row[:shared] = above
            kept[name] = row[done:].copy()
            result[name] = row[first - top : end - top, p.before : p.before + width]
        carry = kept
        if end > first:
            yield first - p.above, result


def run(function, pictures, **how):
    """Return the whole result at once: dict name -> float32 (H, W, C); arguments as in `bands`."""
    height = next(iter(pictures.values())).shape[0]
    results = {}
    for top, band in bands(function, pictures, **how):
        for name, rows in band.items():
            if name not in results:
                results[name] = np.empty((height, *rows.shape[1:]), np.float32)
            results[name][top : top + len(rows)] = rows
    return results


def padded_rows(picture, p, top, rows, white=None):
    """Return rows of a picture padded as the Plan says, float32 (rows, p.width, C), from `top` on.

    picture, white
        As of `bands`.
    """
    size = rows, p.width
    return _as_float(_block(picture, top - p.above, -p.before, size), white)


def _fade(earlier, later, weight):
    """Turn `earlier` in place into the mixture; where both are equal nothing changes by a bit."""
    earlier += weight * (later - earlier)


def _block(picture, top, left, size):
    """Cut a tile out of a picture whose reflections go on beyond its borders."""
    height, width = picture.shape[:2]
    bottom, right = top + size[0], left + size[1]
    if min(top, left) >= 0 and bottom <= height and right <= width:
        return np.asarray(picture[top:bottom, left:right])
    rows = _mirrored(top, size[0], height)
    columns = _mirrored(left, size[1], width)
    # By plain slices, which are all that a file can be asked for.
    first, before = int(rows.min()), int(columns.min())
    block = np.asarray(picture[first : int(rows.max()) + 1, before : int(columns.max()) + 1])
    return block[rows[:, None] - first, columns - before]


def _mirrored(start, length, side):
    """Return which pixels of a side stand at start.. of its endless reflection, int (length,)."""
    period = max(2 * (side - 1), 1)
    at = np.arange(start, start + length) % period
    return np.minimum(at, period - at)


def _as_float(block, white):
    if block.dtype in (np.float32, bool):
        return np.array(block, np.float32)  # its own: what a function returns is written to
    value, top = as_float(block), top_of(block.dtype)
    return value if white in (None, top) else np.minimum(value * np.float32(top / white), 1)
