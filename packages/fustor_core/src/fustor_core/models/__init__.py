"""
The data every part of Fustor passes on: events, configuration and the envelope.
"""
