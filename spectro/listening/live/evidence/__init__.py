"""What is kept of an event, so that people can check it and another machine can replay it."""
