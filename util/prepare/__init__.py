"""Data sets made ready and checked, without TensorFlow.

Enters: pictures, samples and floor 1.
"""
