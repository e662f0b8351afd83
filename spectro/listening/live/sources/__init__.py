"""Where live sound comes from, each source with the one supervisor that opens it again."""
