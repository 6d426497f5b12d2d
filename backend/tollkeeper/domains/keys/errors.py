"""What goes wrong with keys."""

from tollkeeper.core.errors import Conflict, Forbidden, NotFound


class KeyNotFound(NotFound):
    """No key of that id among those the caller may see."""


class KeyIsRevoked(Conflict):
    """A revoked key cannot be changed."""

    code = "key_revoked"


class BeyondAuthority(Forbidden):
    """The key would grant more than its maker holds."""

    code = "beyond_authority"


class NotInTeam(Forbidden):
    """The caller neither belongs to the team nor manages all teams."""

    code = "not_in_team"


class TeamMismatch(Conflict):
    """The team that was named is not the one of the project that was named."""

    code = "team_mismatch"


class KeyLivesTooLong(Forbidden):
    """The tenant bounds how long its keys live."""

    code = "key_lives_too_long"


class ImportIsOff(Forbidden):
    """The platform has switched the import of keys off for the tenant."""

    code = "flag_off"


class ImportRefused(Conflict):
    """At least one row cannot be imported, so none was; `rows` says which and why."""

    code = "import_refused"


class KeyUnusable(Forbidden):
    """The key may not call models now, so nothing made of it may."""

    code = "key_unusable"


class RunIsEnded(Conflict):
    """A run that was ended cannot be taken up again under its id."""

    code = "run_ended"


class TooManyEndedRuns(Conflict):
    """So many runs of one key were ended one by one within a day that ending all of them is the better way."""

    code = "too_many_ended_runs"
