"""
The HTTP API of Fusion: thin handlers, one module for each resource.
"""
