"""Every command of an administrator; each is a client of the Administration API, over HTTP like any other."""

from admin.admin_keys import admin_keys
from admin.keys import keys

COMMANDS = (keys, admin_keys)
