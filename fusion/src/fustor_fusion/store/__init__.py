"""
The embedded store of one datastore: one SQLite file, its schema and its connections.
"""
