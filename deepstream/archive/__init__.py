"""An archive of recordings: every clip through the graph, its polyps as Parquet."""
