"""
Fustor Fusion: receives events from many agents, stores them durably and serves views.
"""
