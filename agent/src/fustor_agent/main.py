"""
ASGI target of the Agent service: `fustor_agent.main:app`.
"""

from fustor_agent.app import create_app

app = create_app()
