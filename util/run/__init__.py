"""A run on disk and on devices: its folder, checkpoints, history, report, machines.

Enters: say, files.
"""
