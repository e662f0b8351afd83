"""Networks: bodies under a head, their features, what they look at, and their arithmetic."""
