"""What lies beside a picture and tells where it is, and how it comes beside the result."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from util import files

_CRS = (".prj", ".qpj")
# What GDAL keeps of pixels as they were: in .aux.xml, which has much else.
_OF_THE_PIXELS = re.compile(
    rb"<MDI key=\"STATISTICS_[^>]*>[^<]*</MDI>\s*|<Histograms>.*?</Histograms>\s*", re.DOTALL
)


def copy_beside(source: Path, result: Path, turned: bool) -> str:
    """Copy what lies beside a picture and tells where it is; return what to say, or nothing.

    World files, .prj and .aux.xml, without statistics, under the result's name. Of a picture that
    is `turned` by its EXIF a world file would tell a wrong place.
    """
    came, goes = (path.suffix.lower() for path in (source, result))
    worlds = {_world(came): _world(goes)}
    if came:
        worlds[f"{came}w"] = f"{goes}w"
    worlds[".wld"] = ".wld"
    names = {source.with_suffix(old): result.with_suffix(new) for old, new in worlds.items()}
    told = [path for path in map(_there, names) if path]
    if turned and told:
        names, note = {}, f"{source}: its EXIF turns it, so {told[0].name} is not copied"
    else:
        note = ""
    for suffix in (*_CRS, ".aux.xml"):
        names[source.with_suffix(suffix)] = result.with_suffix(suffix)
    names[source.with_name(f"{source.name}.aux.xml")] = result.with_name(f"{result.name}.aux.xml")
    _copy(names)
    return note


def copy_crs(source: Path, result: Path) -> None:
    """Copy what lies beside a picture and tells its CRS alone, .prj, under the result's name."""
    _copy({source.with_suffix(suffix): result.with_suffix(suffix) for suffix in _CRS})


def _copy(names: Mapping[Path, Path]) -> None:
    for old, new in names.items():
        found = _there(old)
        if found:
            content = found.read_bytes()
            is_xml = old.name.endswith(".xml")
            files.write(new, _OF_THE_PIXELS.sub(b"", content) if is_xml else content)


def _world(suffix: str) -> str:
    """Return the suffix of a picture's world file: .pgw for .png."""
    return f".{suffix[1]}{suffix[-1]}w" if len(suffix) > 1 else ".wld"


def _there(path: Path) -> Path | None:
    """Return a file's path with the suffix in small or capital letters, None if there is none."""
    stem, dot, suffix = path.name.partition(path.suffix) if path.suffix else (path.name, "", "")
    capitals = path.with_name(f"{stem}{(dot + suffix).upper()}")
    # A name too long for the disk is none either.
    return next((place for place in (path, capitals) if os.path.isfile(place)), None)
