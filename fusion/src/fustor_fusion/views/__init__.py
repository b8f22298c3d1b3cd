"""
Views: projections that are kept in the ingest transaction and serve their own routes.
"""
