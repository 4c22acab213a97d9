"""The version of this package: the one place where it stands, read by the build, too."""

__version__ = "0.2.0"
