"""Conditions: kinds of cloud, and of pictures, that a network is measured under one by one.

A condition is what it changes in the settings of a script that draws cloud over clear ground. All
that they name is fixed here, so that runs with other clouds to learn from can be compared.
"""

# Nothing but white sheets of cloud: of all else that can befall a picture there is none.
_PLAIN = {
    "clear_share": 0.0,
    "veil_share": 0.0,
    "cumulus_share": 0.0,
    "layer_own_share": 0.0,
    "heap_share": 0.0,
    "haze_share": 0.0,
    "opacity_offset": (0.0, 0.0),
    "cloud_brightness": (1.0, 1.0),
    "cloud_colour": (0.98, 1.0),
    "cloud_shading": 0.0,
    "cloud_relief": 0.0,
    "wavelength_exponent": (0.0, 0.0),
    "shadow_share": 0.0,
    "channel_shift_px": 0.0,
    "blur_beneath_px": 0.0,
    "picked_share": 0.0,
    "jpeg_share": 0.0,
    "sensor_noise": 0.0,
}
# All kinds of cloud, from hardly any to opaque.
_MIXED = {
    **_PLAIN,
    "veil_share": 0.25,
    "cumulus_share": 0.25,
    "layer_own_share": 0.5,
    "greatest_opacity": (0.2, 1.0),
    "cumulus_cover": (0.02, 0.7),
    "cumulus_cell_px": (4.0, 120.0),
}

CONDITIONS = {
    "clear": {**_PLAIN, "clear_share": 1.0},
    "thin .15": {**_PLAIN, "greatest_opacity": (0.15, 0.15)},
    "thin .3": {**_PLAIN, "greatest_opacity": (0.3, 0.3)},
    "half .5": {**_PLAIN, "greatest_opacity": (0.5, 0.5)},
    "mixed": _MIXED,
    "thick": {**_PLAIN, "greatest_opacity": (1.0, 1.0)},
    "small cumulus": {
        **_PLAIN,
        "cumulus_share": 1.0,
        "greatest_opacity": (0.7, 1.0),
        "cumulus_cover": (0.02, 0.25),
        "cumulus_cell_px": (4.0, 16.0),
    },
    # As cumulus is where a picture was not stretched until it is white: heaps with folds and sides.
    "heaped cumulus": {
        **_PLAIN,
        "cumulus_share": 1.0,
        "greatest_opacity": (0.9, 1.0),
        "cumulus_cover": (0.1, 0.5),
        "cumulus_cell_px": (16.0, 64.0),
        "cloud_brightness": (0.75, 0.95),
        "cloud_relief": 0.6,
    },
    # Angstrom exponent of haze of small drops and smoke.
    "bluish veil": {
        **_PLAIN,
        "veil_share": 1.0,
        "greatest_opacity": (0.2, 0.6),
        "wavelength_exponent": (1.0, 1.5),
    },
    "with shadows": {**_MIXED, "shadow_share": 1.0, "shadow_depth": (0.3, 0.6)},
    "channels apart": {**_MIXED, "channel_shift_px": 2.0},
    "grey or tinted": {**_MIXED, "cloud_brightness": (0.8, 0.95), "cloud_colour": (0.9, 1.0)},
    "JPEG 75": {**_MIXED, "jpeg_share": 1.0, "jpeg_quality": (75.0, 75.0)},
}
