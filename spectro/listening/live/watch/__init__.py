"""What listening tells of itself: that it hears, and that its alarms keep to their contract."""
