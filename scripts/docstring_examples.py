"""What the docstrings call `Example:` is shown as code in the site, as Google's plural `Examples:` is."""

import griffe


class Examples(griffe.Extension):
    """Renames the section while the sources are read."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
