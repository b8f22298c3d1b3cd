"""
What the consoles of Fustor's services are made of.
"""
