"""Every command of an administrator; each is a client of the Administration API, over HTTP like any other."""

from admin.admin_keys import admin_keys
from admin.budgets import budgets
from admin.keys import keys
from admin.prices import prices
from admin.users import users
from admin.webhooks import webhooks

COMMANDS = (keys, admin_keys, budgets, prices, users, webhooks)
