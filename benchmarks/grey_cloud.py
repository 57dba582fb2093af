"""How much real cumulus is found that is not white, and is the ground nearer to the truth?

    python benchmarks/grey_cloud.py CLOUDY CLEAR
    python benchmarks/grey_cloud.py CLOUDY CLEAR --white 1 0.5 --only 149 166 215

Folders of pictures of the same names, of two dates near each other, such as RICE2. What
cloud_removal.py makes of the cloudy ones is compared with the clear ones as they are, for each
`cloud_white`. No mask is needed: cloud is what is brighter in its darkest channel than half of the
clear picture by more than 45 of 255, and ground what differs from that by less than 12.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from cloud_removal import remove_clouds
from util.measure.scores import psnr, ssim
from util.pictures.pixels import as_float
from util.pictures.read import read_picture

WHITES = 1.0, 0.8, 0.6, 0.5, 0.4
CLOUD_FROM, GROUND_BELOW = 45, 12  # of 255


def scores(picture, clear):
    """Return PSNR in dB and SSIM of two pictures, uint8 (H, W, 3)."""
    both = as_float(picture), as_float(clear)
    return psnr(*both), ssim(*both)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cloudy", type=Path)
    parser.add_argument("clear", type=Path)
    parser.add_argument("--white", type=float, nargs="+", default=WHITES)
    parser.add_argument("--only", nargs="+", help="names without their ending [all]")
    arguments = parser.parse_args()
    paths = [
        p for p in sorted(arguments.cloudy.iterdir()) if p.stem in (arguments.only or [p.stem])
    ]
    pairs = [(read_picture(path), read_picture(arguments.clear / path.name)) for path in paths]
    print(f"{'white':>5} {'found':>6} {'ground > .1':>11} {'PSNR':>6} {'SSIM':>5} {'better':>6}")
    nothing = np.array([scores(*pair) for pair in pairs])
    print(f"{'-':>5} {'':>6} {'':>11} {nothing[:, 0].mean():6.2f} {nothing[:, 1].mean():5.3f}")
    for white in arguments.white:
        made, cloud, ground = [], [], []
        for cloudy, clear in pairs:
            found = remove_clouds(cloudy, cloud_white=white)
            made.append(scores(found.ground, clear))
            brighter = cloudy.min(axis=-1) - np.median(clear.min(axis=-1))
            cloud.append(found.opacity[brighter > CLOUD_FROM] > 0.5)
            ground.append(found.opacity[abs(brighter) < GROUND_BELOW] > 0.1)
        made = np.array(made)
        shares = [np.concatenate(parts).mean() for parts in (cloud, ground)]
        better = (made[:, 1] > nothing[:, 1]).sum()
        print(
            f"{white:5.2f} {shares[0]:6.3f} {shares[1]:11.3f} {made[:, 0].mean():6.2f} "
            f"{made[:, 1].mean():5.3f} {better:3} of {len(pairs)}"
        )


if __name__ == "__main__":
    main()
