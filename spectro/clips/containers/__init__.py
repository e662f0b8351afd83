"""What sound files say of themselves, read before a decoder is trusted with them."""
