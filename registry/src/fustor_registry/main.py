"""
ASGI target of the Registry service: `fustor_registry.main:app`.
"""

from fustor_registry.app import create_app

app = create_app()
