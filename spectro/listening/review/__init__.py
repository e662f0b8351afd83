"""A person judges events, one key a verdict, and the verdicts become clips to train on."""
