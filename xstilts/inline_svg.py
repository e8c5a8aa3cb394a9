"""Plots within a page: an SVG file as an element that does not get in the way of others."""

import re
import xml.etree.ElementTree as ElementTree

from markupsafe import Markup

from xstilts.base import UserError

SVG = "http://www.w3.org/2000/svg"
HREF = "{http://www.w3.org/1999/xlink}href"


def inline_svg(path, name, title_text):
    """An SVG as part of a page. Ids, and what refers to them, begin with the figure's `name`, because ids of two files may be
    the same; its style holds for itself only; `title_text` is for those who do not see it. Raises UserError for a file that is
    missing or is no SVG."""
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314 (a plot that the same run has drawn)
    except FileNotFoundError as error:
        raise UserError(f"report: {path} is missing; the figure '{name}' has to be drawn first") from error
    except ElementTree.ParseError as error:
        raise UserError(f"report: {path} is not valid SVG ({error})") from error
    own = f"figure-{name}"
    for element in root.iter():
        _prefix_ids(element, own)
        if element.tag == f"{{{SVG}}}style":
            element.text = re.sub(r"(^|\})\s*([^{}]+)\{", rf"\1#{own} \2{{", element.text or "")
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    for title in root.findall(f"{{{SVG}}}title"):
        root.remove(title)
    title = ElementTree.Element(f"{{{SVG}}}title", id=f"{own}-title")
    title.text = title_text
    root.insert(0, title)
    root.attrib |= {"id": own, "role": "img", "aria-labelledby": f"{own}-title"}
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", HREF[1:].split("}")[0])
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 (the tree escapes what it writes)


def _prefix_ids(element, own):
    """Put `own` before an element's id and the ids that it refers to."""
    for name, value in element.attrib.items():
        if name == "id":
            value = f"{own}-{value}"
        elif name in (HREF, "href"):
            value = re.sub(r"^#", f"#{own}-", value)
        element.set(name, value.replace("url(#", f"url(#{own}-"))
