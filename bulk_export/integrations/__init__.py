"""Data sources and assets for other engines, each in a module of its own that needs the engine."""
