"""
The contract of Fustor: what drivers, agent and services agree on. No I/O, few dependencies.
"""
