"""Why no value can be made for a schema."""


class UnfitSchema(ValueError):
    """No value fits, or the schema asks for what the makers do not understand; the message is for the caller."""
