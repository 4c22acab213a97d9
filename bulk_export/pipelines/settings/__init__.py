"""The settings of the command line: the options of each command, and what variables and files may say about them.

commands   which options each command takes
sources    the command line, the environment and a TOML file, merged
origins    where a value was written, for messages about it
trust      which settings are taken from a file that was found and not named
template   a file with every setting, to begin with
"""
