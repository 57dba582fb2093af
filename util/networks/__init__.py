"""Layers and networks, nothing else: what maps tensors to tensors and has weights.

Enters: say.
"""
