"""What the scripts share, room by room; docs/house.md says what lies where."""

import os

# TensorFlow's C++ side greets, warns and reports failed optimisations of its own on every start;
# what matters reaches Python as an exception. Set before anything imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow uses oneDNN by itself only where the chip has AVX-512; with AVX2 alone a step of
# mod_defog.py takes half the time with it.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
