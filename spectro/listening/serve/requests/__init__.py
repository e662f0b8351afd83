"""What a request may be: who asks, how much and how fast it sends, and what refuses it."""
