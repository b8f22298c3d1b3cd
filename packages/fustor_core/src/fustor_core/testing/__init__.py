"""
Conformance kit for driver authors, and the model that the sync runtime is proven in.
"""
