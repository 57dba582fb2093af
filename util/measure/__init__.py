"""How good a picture is, and beside whom: scores, classical rivals, evaluations.

Enters: pictures and floor 1.
"""
