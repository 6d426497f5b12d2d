"""Same language, same script, short enough to be told apart: else an answer in the wrong language would be served."""

from tollkeeper.gateway.cache.guards.reading import Reading


def check_size(mine: Reading, theirs: Reading) -> str:
    return "too long to be compared word by word" if mine.is_too_long or theirs.is_too_long else ""


def check_language(mine: Reading, theirs: Reading) -> str:
    if mine.script != theirs.script or mine.script == "mixed":
        return f"script: {mine.script} against {theirs.script}"
    if mine.language != theirs.language:
        return f"language: {mine.language or 'unclear'} against {theirs.language or 'unclear'}"
    return ""
