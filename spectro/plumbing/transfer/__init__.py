"""Files from elsewhere: downloads that go on where they broke off, archives that stay inside."""
