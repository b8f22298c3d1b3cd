"""
The pusher for any service that describes itself with OpenAPI.
"""

from fustor_pusher_openapi.driver import OpenApiPusher

__all__ = ["OpenApiPusher"]
