"""One picture of any size through a network, in bands of finished rows.

Enters: pictures and floor 1.
"""
