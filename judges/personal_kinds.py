"""Kinds of personal data and secrets, by name; judges/personal_data.py finds them and takes longer to import."""

from typing import Literal

Kind = Literal["email", "phone", "iban", "card", "ssn", "ip_address", "api_key", "jwt", "private_key", "password"]
PERSONAL: tuple[Kind, ...] = ("email", "phone", "iban", "card", "ssn", "ip_address")
SECRETS: tuple[Kind, ...] = ("api_key", "jwt", "private_key", "password")
KINDS: tuple[Kind, ...] = (*PERSONAL, *SECRETS)
