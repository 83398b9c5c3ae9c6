"""Settings of people: where they come from, how they sign in, and the identity provider."""

from ipaddress import ip_network
from typing import Literal
from urllib.parse import urlsplit

from gateway.kit.section import Secret, Section, refuse_less_than_one


class ConsoleSettings(Section, frozen=True):
    url: str = ""
    """Where people reach this gateway with their browsers, as in "https://gateway.example.com": for links in invitations and for single sign-on. Empty means the address of each request."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies, as in ["10.0.0.0/8"], whose X-Forwarded-For and X-Forwarded-Proto are believed."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if self.url and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/")):
            raise ValueError(f"url: '{self.url}' is not like https://gateway.example.com")
        for proxy in self.trusted_proxies:
            try:
                ip_network(proxy)
            except ValueError as error:
                raise ValueError(f"trusted_proxies: {error}") from None


class SignInSettings(Section, frozen=True):
    idle_seconds: int = 12 * 3600
    """A session that is not used for so long ends."""
    session_seconds: int = 7 * 24 * 3600
    """A session ends after so long, however much it is used."""
    invite_seconds: int = 7 * 24 * 3600
    """An invitation can be accepted for so long."""
    failures: int = 5
    """Wrong passwords or codes for one account, after which it is locked to browsers that never signed in to it."""
    address_failures: int = 20
    """The same for one address, which many people may share."""
    lock_seconds: int = 30
    """How long the first lock lasts; each further failure doubles it."""
    max_lock_seconds: int = 900
    """The longest lock."""

    def __post_init__(self) -> None:
        refuse_less_than_one(self, self.__struct_fields__)


class OidcSettings(Section, frozen=True):
    """Single sign-on with an OpenID Connect provider. Its redirect URI is [console] url + /v1/sign_in/oidc/callback."""

    issuer: str = ""
    """As its discovery document says it, without /.well-known/openid-configuration. Empty: no single sign-on."""
    client_id: str = ""
    """What the provider calls this gateway."""
    client_secret: Secret = Secret("")
    """Empty for a public client; PKCE is always used."""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    """What is asked for; the ID token must tell email and email_verified."""
    new_people: Literal["none", "reader", "owner"] = "none"
    """The role of somebody who was not invited; none: only those who are known or were invited come in."""
    allowed_domains: tuple[str, ...] = ()
    """Domains of their emails, as in ["example.com"]; needed with new_people. ["*"] is everybody whom the provider knows."""
    button: str = "Single sign-on"
    """Text of the button in the console."""

    def __post_init__(self) -> None:
        if not self.issuer:
            return
        if not self.issuer.startswith(("https://", "http://")):
            raise ValueError(f"issuer: '{self.issuer}' does not begin with https://")
        if not self.client_id:
            raise ValueError("client_id: the provider gives it")
        if "openid" not in self.scopes:
            raise ValueError("scopes: openid is missing")
        if self.new_people != "none" and not self.allowed_domains:
            raise ValueError('allowed_domains: name the domains of new people, or ["*"] for everybody')
