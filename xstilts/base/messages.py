"""What users read: messages, and errors as one clear line. Neither contains a password or an access token."""

import os
import re

SECRETS = {"token", "password", "passwd", "passphrase", "secret", "key", "apikey", "credential", "credentials"}
LOOKS = re.compile(
    r"(?P<before>\b[a-z][a-z0-9+.-]*://)[^\s/@]+@"  # the user and password of an address
    r"|(?P<query>[?&](?:access_token|token|api_key|apikey|key|password|secret|signature)=)[^\s&#'\"]+"
    r"|(?P<bearer>\bbearer\s+)[\w.~+/=-]{8,}"
    # Long ones only: hf_checkpoints is a folder, and sk-pl-de-fr are languages.
    r"|(?<![A-Za-z0-9])(?:hf|api_org|gh[pousr])_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
    r"|(?<![A-Za-z0-9])(?:sk-[A-Za-z0-9]{20,}|(?:sk-proj|glpat|xox[abpr])-[\w-]{20,})",
    flags=re.IGNORECASE,
)


class UserError(Exception):
    """Something outside the program is wrong. The message says what, where, and what to do about it."""

    def __init__(self, message):
        super().__init__(masked(str(message)))


def print_main(message):
    """Print one line, once however many processes there are."""
    if is_main_process():
        print(masked(str(message)), flush=True)


def is_main_process():
    """Whether this is the first process of a distributed run, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def quoted(value):
    """The beginning of a value from a file, in quotes and on one line, as messages show it."""
    return repr(str(value)[:40])


def first_line(error):
    """The first line of a library's error; the rest is seldom for users."""
    return str(error).strip().split("\n")[0]


def masked(text):
    """A text with `***` in place of everything that looks like a token or a password."""
    return LOOKS.sub(_mask, text)


def _mask(found):
    return f"{found['before']}***@" if found["before"] else f"{found['query'] or found['bearer'] or ''}***"


def is_secret(name):
    """Whether an option or a variable is a secret by its name: `hub_token`, `WANDB_API_KEY`; not `max_tokens_per_batch`."""
    return not SECRETS.isdisjoint(re.split(r"[^a-z0-9]+", name.lower()))
