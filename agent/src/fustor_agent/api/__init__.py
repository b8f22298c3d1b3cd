"""
The agent's REST API below `/api`, one module per resource.
"""
