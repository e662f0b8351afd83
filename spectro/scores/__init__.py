"""Tables of predictions in, numbers and plots out."""
