"""
The history of the Registry's schema, applied when the service starts.
"""
