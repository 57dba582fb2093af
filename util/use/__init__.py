"""A trained network at work: load it, apply, evaluate, export.

Enters: all of floors 1 to 3.
"""
