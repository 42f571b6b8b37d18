"""What answers about how things stand look like; documented, and tested."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from opscore.domain.keys import SCOPES
from opscore.web.api.fields import nullable


class IdentitySchema(Schema):
    """Who asks, and what that one may do."""

    key_required = fields.Boolean(required=True)
    authenticated = fields.Boolean(required=True)
    key_id = nullable(fields.String(required=True))
    name = nullable(fields.String(required=True))
    scopes = fields.List(fields.String(validate=validate.OneOf(SCOPES)), required=True)
