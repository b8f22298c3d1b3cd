"""
Fustor Registry: users, datastores, API keys and the audit trail.
"""

__version__ = "0.1.0"
