"""What was heard when: events chosen, counted by hour and day, and drawn."""
