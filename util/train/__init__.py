"""One step and many: the state, the losses, what trains a GAN, the loop.

Enters: all of floors 1 to 3.
"""
