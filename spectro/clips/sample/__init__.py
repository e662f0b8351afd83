"""A synthesised dataset in UrbanSound8K's layout, to try everything on."""
