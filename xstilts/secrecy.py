"""What must not be written down: passwords and access tokens, in command lines, arguments and messages.

Told by the name of an option (`--hub_token`) and by the look of a text (`hf_...`, `https://user:password@host`); a secret that
looks like any other word cannot be told where no name says what it is.
"""

import re

MASK = "***"
NAMES = {"token", "password", "passwd", "passphrase", "secret", "key", "apikey", "credential", "credentials"}
ASSIGNED = re.compile(r"-*\w[\w-]*")
LOOKS = re.compile(
    r"(?P<before>\b[a-z][a-z0-9+.-]*://)[^\s/@]+@"  # whoever stands before the host of an address
    r"|(?P<query>[?&](?:access_token|token|api_key|apikey|key|password|secret|signature)=)[^\s&#'\"]+"
    r"|(?P<bearer>\bbearer\s+)[\w.~+/=-]{8,}"
    # Long ones only: hf_checkpoints is a folder, and sk-pl-de-fr are languages.
    r"|(?<![A-Za-z0-9])(?:hf|api_org|gh[pousr])_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
    r"|(?<![A-Za-z0-9])(?:sk-[A-Za-z0-9]{20,}|(?:sk-proj|glpat|xox[abpr])-[\w-]{20,})",
    flags=re.IGNORECASE,
)


def masked(text):
    """A text with `***` in the place of all that looks like a token or a password."""
    return LOOKS.sub(_mask, text)


def _mask(found):
    if found["before"]:
        return f"{found['before']}{MASK}@"
    return f"{found['query'] or found['bearer'] or ''}{MASK}"


def is_secret(name):
    """Whether an option or a variable holds a secret by its name: `hub_token`, `WANDB_API_KEY`; not `max_tokens_per_batch`."""
    return not NAMES.isdisjoint(re.split(r"[^a-z0-9]+", name.lower()))


def without_secrets(words):
    """The words of a command line with `***` in the place of secrets: the values of options that hold one by their name, and what
    looks like one.

    ["--hub_token", "abc", "--seed=1", "https://me:abc@host"] -> ["--hub_token", "***", "--seed=1", "https://***@host"]
    """
    found, follows = [], False
    for word in map(str, words):
        is_option, (name, given, _) = word.startswith("--"), word.partition("=")
        if follows and not is_option:
            found.append(MASK)
        elif given and ASSIGNED.fullmatch(name) and is_secret(name):  # --hub_token=abc, HF_TOKEN=abc
            found.append(f"{name}={MASK}")
        else:
            found.append(masked(word))
        follows = is_secret(name) and not given if is_option else follows
    return found


def masked_values(content, name=""):
    """JSON-like content with `***` in the place of secrets, by the name that they have in it and by their look."""
    if isinstance(content, dict):
        return {key: masked_values(value, str(key)) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [masked_values(value, name) for value in content]
    if content and is_secret(name):
        return MASK
    return masked(content) if isinstance(content, str) else content
