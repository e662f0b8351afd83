"""What is wrong with clips and datasets: measured, judged, and left out on request."""
