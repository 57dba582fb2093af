"""What the scripts share, room by room; docs/house.md says what lies where."""

import os

# TensorFlow's C++ side greets, warns and reports failed optimisations of its own on every start;
# what matters reaches Python as an exception. Set before anything imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
