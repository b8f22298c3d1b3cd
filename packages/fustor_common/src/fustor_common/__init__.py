"""
What the three Fustor services share: settings, logging, command line base, metrics, health and auth.
"""
