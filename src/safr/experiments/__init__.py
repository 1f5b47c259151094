"""Many settings in, one table out."""
