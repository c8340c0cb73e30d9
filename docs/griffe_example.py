"""Let the API pages read an "Example:" as what griffe calls "Examples:"."""

import re

import griffe


class ExampleSection(griffe.Extension):
    """Rewrites the title of the section as a docstring is loaded."""

    def on_object(self, *, obj: griffe.Object, **_) -> None:
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^( *)Example:$",
                r"\1Examples:",
                obj.docstring.value,
                flags=re.MULTILINE,
            )
