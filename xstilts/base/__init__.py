"""What every room uses: messages and errors, the end of a script, several processes, signals, JSON and YAML files.

Nothing here knows what a task, a model or a run is. Importing it loads the standard library and PyYAML only.
"""

from xstilts.base.files import CONFIGS, check_pointer, checksum, read_json, read_yaml, write_json
from xstilts.base.messages import UserError, first_line, is_main_process, is_secret, masked, print_main, quoted
from xstilts.base.processes import gather_on_main, on_all_processes, on_main_process
from xstilts.base.scripts import options_given, run_script, words_given
from xstilts.base.signals import REQUEUE, Preempted, between_steps, received_signal
