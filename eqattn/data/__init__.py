"""What data sets share: caches, archives, batches, motions; no model code."""
