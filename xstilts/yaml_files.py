"""YAML files -> plain values, with one clear line for whatever else they hold."""

from collections import Counter

import yaml

from xstilts.errors import UserError
from xstilts.text_files import text_of

PLAIN = (str, int, float, bool, type(None))


class _Loader(yaml.SafeLoader):
    """Dates stay text as they are written, and a key that a mapping has twice is an error."""

    yaml_implicit_resolvers = {  # noqa: RUF012, as in the class above
        first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node, deep=False):
        if isinstance(node, yaml.MappingNode):
            names = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            if twice := [name for name, count in names.items() if count > 1]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{twice[0]}' stands there twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def read_yaml(path):
    """Text, numbers, true, false, null, lists, and mappings with keys of text. Raises UserError, one line with the file, for what
    is not UTF-8, no YAML or anything else, and OSError for a file that cannot be read."""
    text = text_of(path)
    try:
        content = _Loader(text).get_single_data()
        wrong = _not_plain(content)
    except RecursionError as error:
        raise UserError(f"{path} is not valid YAML (nested too deeply)") from error
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise UserError(f"{path} is not valid YAML ({' '.join(str(error).split())[:300]})") from error
    if wrong:
        raise UserError(f"{path}: {wrong}")
    return content


def _not_plain(value):
    """The first thing that no command line can hold, in words; "" where there is none."""
    if isinstance(value, dict):
        if keys := [key for key in value if not isinstance(key, str)]:
            return f"the key {keys[0]!r:.40} is no text; put it in quotes"
        return next(filter(None, map(_not_plain, [*value, *value.values()])), "")
    if isinstance(value, list):
        return next(filter(None, map(_not_plain, value)), "")
    if not isinstance(value, PLAIN):
        return f"{value!r:.40} is neither text, a number, true or false; put it in quotes"
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= character <= "\udfff" for character in value)):
        return f"{value!r:.40} is no text that a command line can hold"
    return ""
