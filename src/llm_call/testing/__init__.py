"""Public fakes: what the library's own tests use, for the tests of those who use the library."""
