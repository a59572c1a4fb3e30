"""The molecules that come with the package, their record, and the script that makes both."""
