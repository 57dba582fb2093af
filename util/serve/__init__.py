"""A page and an address: pictures come in over the network, one at a time is restored.

Enters: use, pictures, restore, say, files, interrupt.
"""
