"""
Fustor Agent: runs beside the data and keeps each sync between a source and a pusher going.
"""
