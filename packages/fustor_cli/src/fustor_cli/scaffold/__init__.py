"""
Writing the package of a new driver from templates.
"""
