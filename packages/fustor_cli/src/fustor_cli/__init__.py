"""
The `fustor` command: up, down, tree, search, stats, tail, status and doctor.
"""
