"""
Alembic migrations of Fusion's own tables in a datastore's database.
"""
