"""Data sets made ready and checked, without TensorFlow.

Enters: pictures, samples, measure and floor 1.
"""
