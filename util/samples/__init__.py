"""Pixels to batches: clear ground, what is drawn over it, keyed by the sample's number.

Enters: pictures and floor 1.
"""
