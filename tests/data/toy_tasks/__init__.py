"""Tasks for the tests of what is the same for every task."""
