"""Picture files: find them, read them to pixels and write them back, serve crops of many.

Enters: say, files.
"""
