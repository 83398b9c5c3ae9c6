"""Whether whoever a key belongs to still has access to what it opens."""

OWNER_HAS_ACCESS = """(
    api_keys.user_id IS NULL OR EXISTS (
        SELECT FROM users AS person WHERE person.id = api_keys.user_id AND person.deleted_at IS NULL AND (
            api_keys.project_id IS NULL OR person.role = 'owner' OR EXISTS (
                SELECT FROM project_users AS member
                WHERE member.project_id = api_keys.project_id AND member.user_id = api_keys.user_id
            )
        )
    )
)"""
"""A condition on `api_keys`: a person who is still here and, for a project's key, owns the organisation or is in the project. A
service account's keys are revoked with it."""
