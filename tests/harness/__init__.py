"""
What end-to-end tests and benchmarks run on: the three real services as processes, and trees to compare.
"""
