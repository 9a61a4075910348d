"""Other tools: what lets them use aftertune from inside."""
