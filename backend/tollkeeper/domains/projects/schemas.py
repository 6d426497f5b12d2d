"""Payloads of the projects API."""

from pydantic import Field

from tollkeeper.core.ids import ProjectId, TeamId, TenantId
from tollkeeper.domains.teams.schemas import LevelFields, LevelView
from tollkeeper.web.schemas import Name


class ProjectCreate(LevelFields):
    name: Name
    team_id: TeamId | None = Field(None, description="Without it the project is directly in the tenant.")
    tenant_id: TenantId | None = Field(None, description="Another tenant; for platform administrators.")


class ProjectUpdate(LevelFields):
    """Only the members that are sent are changed; null takes a limit back, and the project out of its team."""

    name: Name | None = None
    team_id: TeamId | None = Field(None, description="The team to move to; its limits hold from then on.")


class ProjectView(LevelView):
    id: ProjectId
    team_id: TeamId | None
