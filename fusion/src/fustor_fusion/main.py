"""
ASGI target of the Fusion service: `fustor_fusion.main:app`.
"""

from fustor_fusion.app import create_app

app = create_app()
