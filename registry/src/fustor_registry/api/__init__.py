"""
The HTTP API of the Registry, one module per resource. Handlers are thin and run on worker threads.
"""
