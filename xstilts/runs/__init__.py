"""A run of a script: its command line, and in time its directory, its run.json and its way to others."""

from xstilts.runs.command_line import command_of, parse_args
from xstilts.runs.config_files import SEVERAL, TEXT, read_config, task_files
