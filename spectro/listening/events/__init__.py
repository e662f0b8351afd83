"""Events: found in windows, written as tables, kept in a store, compared with people's marks."""
