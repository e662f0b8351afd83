"""Published datasets: a file each, and where they are fetched."""
