"""What two scripts or more share; see the table in README.md."""

import os

# TensorFlow's C++ side greets, warns and reports failed optimisations of its own on every start;
# what matters reaches Python as an exception. Set before anything imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
