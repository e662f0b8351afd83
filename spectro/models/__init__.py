"""Networks, the weights they start from, and the folder a trained one is kept in."""
