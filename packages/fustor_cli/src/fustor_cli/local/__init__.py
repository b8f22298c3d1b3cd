"""
The local set of services: what `fustor up` starts, watches and stops.
"""
