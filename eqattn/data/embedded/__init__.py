"""The data that come with the package, their records, and the scripts that make both."""
