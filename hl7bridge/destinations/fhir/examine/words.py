"""What each observation means, in plain words: what was found, why that matters, and what to do about it.

One entry for each code of `probe`, `reach`, `authorizing` and `examination`: the line, the cause ("" where the line says it)
and the fixes. `{name}` stands for a fact of the observation; `{destination}` and `{file}` for the destination and its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hl7bridge.destinations.examining import Diagnosis, State
from hl7bridge.destinations.fhir.examine.reach import Observed


@dataclass(frozen=True, slots=True)
class Words:
    """An observation in plain words: one line, and for what is not well the cause and the fixes, most likely first."""

    line: str
    cause: str = ""
    fixes: tuple[str, ...] = ()


_OUT_OF_REACH = frozenset({"metadata-unreachable", "token-unreachable", "search-unreachable"})


def diagnosis(seen: Observed, destination: str, file: str) -> Diagnosis:
    """An observation in words. `file`: where the destination's settings are, as people are told."""
    facts = {**seen.facts, "destination": destination, "file": file}
    facts["skew_words"] = _span(abs(int(facts.get("skew", facts.get("seconds", 0)) or 0)))
    facts["tried_words"] = "; clock and audience are not it: they were tried" if facts.get("tried") else ""
    template = WORDS[seen.code]
    fixes = list(template.fixes)
    for other in facts.get("others", ()):
        fixes += [f"else: {fix}" for fix in WORDS[f"token-perhaps-{other}"].fixes[:1]]
    unreachable = seen.subject in ("address", "connection", "tls") or seen.code in _OUT_OF_REACH
    return Diagnosis(
        seen.subject,
        seen.state,
        seen.code,
        template.line.format(**facts),
        template.cause.format(**facts),
        tuple(fix.format(**facts) for fix in fixes),
        said=facts.get("explanation", ""),
        unreachable=unreachable and seen.state is State.PROBLEM,
        of_people=seen.subject == "NPI",
        of_hosts=seen.code == "other-name",
    )


def _span(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{round(seconds / 60)} minutes" if seconds < 7200 else f"{round(seconds / 3600)} hours"


_ASK = "Ask the server's owner"
_HELP = "hl7bridge register-help {destination}"
_KEYS = "compare what is registered there with `hl7bridge keys jwks`: kid {kid}"
_CLOCK = "Set both machines' clocks by a time server (NTP); start with this one."

_CONNECTION: Mapping[str, Words] = {
    "address": Words("{host} is found in the DNS"),
    "no-address": Words(
        "{host} is not found in the DNS",
        "the name is misspelled, or this machine asks a name server that does not know it (VPN, internal zone)",
        ("Correct base_url in {file}; try `nslookup {host}` on this machine.",),
    ),
    "connected": Words("port {port} answers"),
    "through-proxy": Words("the proxy {host}:{port} answers"),
    "no-tunnel": Words(
        "the proxy {proxy} does not let through to {host} (HTTP {status})",
        "the proxy allows certain servers only, or asks for a password, which hl7bridge does not send",
        ("Have {host} allowed to this machine at the proxy, or correct proxy in {file}.",),
    ),
    "refused": Words(
        "{host} refuses connections to port {port}",
        "the server is not running, or the port is wrong",
        ("Correct base_url in {file}, or have the server started.",),
    ),
    "no-connection": Words(
        "port {port} of {host} does not answer within {seconds:g} s",
        "a firewall in between drops the connection, or the machine is off",
        ("Have TCP from this machine to {host}:{port} allowed.",),
    ),
    "plain-http": Words("plain http, to this machine itself"),
    "tls": Words("{version}; the certificate names {host} and is good for {days} days (until {ends})"),
    "ends-soon": Words(
        "the server's certificate ends in {days} days, on {ends}",
        "afterwards nothing is delivered any more",
        (_ASK + " to renew it.",),
    ),
    "expired": Words(
        "the server's certificate has ended ({ends})",
        "it was not renewed, or this machine's date is wrong",
        (_ASK + " to renew it; check this machine's date.",),
    ),
    "not-yet-valid": Words(
        "the server's certificate begins only on {begins}",
        "this machine's clock is behind",
        ("Set this machine's clock by a time server (NTP).",),
    ),
    "other-name": Words(
        "the server's certificate is for other names: {names}",
        "base_url names the server by an address or alias that its certificate does not hold",
        ("Write one of those names as the host of base_url in {file}.",),
    ),
    "untrusted": Words(
        "this machine does not trust the server's certificate",
        "it was issued by an authority of the site's own, or a proxy that opens TLS is in between",
        ("Name the authority's certificate (PEM) as ca_file in {file}, or install it on this machine.",),
    ),
    "other-key": Words(
        "the server's certificate has none of the pinned keys; its key is {pin}",
        "the server has a new key, or something in between answers for it",
        (_ASK + " whether this is its key. Only if it is, write it into pins in {file}, beside the next one.",),
    ),
    "no-tls": Words(
        "no TLS 1.2 or later can be agreed upon with {host}",
        "the server speaks an older version, or no TLS at all on this port",
        (_ASK + " for TLS 1.2 or later; check the port in base_url.",),
    ),
    "tls-broken": Words(
        "{host} ends the connection while TLS is agreed upon",
        "a firewall or proxy in between, or a server that asks for a client certificate",
        (_ASK + " what stands between.",),
    ),
    "clock": Words("this machine's clock and the server's agree"),
    "no-date": Words("the server sends no Date: its clock can't be compared"),
    "clock-drifts": Words(
        "the server's clock and this machine's are {skew_words} apart",
        "beyond a few minutes tokens are refused",
        (_CLOCK,),
    ),
    "clock-off": Words(
        "the server's clock and this machine's are {skew_words} apart",
        "one of them is wrong; assertions live four minutes, so that the server takes them for past or future ones",
        (_CLOCK,),
    ),
}

_OFFERED: Mapping[str, Words] = {
    "metadata-not-fhir": Words(
        "what answers at base_url is no FHIR server (HTTP {status})",
        "the address lacks a part of the path, or a login page or proxy stands in between",
        ("Correct base_url in {file}: BASE_URL/metadata must show a CapabilityStatement.",),
    ),
    "metadata-not-there": Words(
        "there is no CapabilityStatement at base_url (HTTP {status})",
        "the address lacks a part of the path",
        ("Correct base_url in {file}: BASE_URL/metadata must show a CapabilityStatement.",),
    ),
    "metadata-unauthorized": Words(
        "the server shows its CapabilityStatement to nobody without a token (HTTP {status})",
        "a gateway in front asks for more than FHIR does",
        (_ASK + " to open BASE_URL/metadata.",),
    ),
    "metadata-forbidden": Words(
        "the server refuses to show its CapabilityStatement (HTTP {status})",
        "a firewall or gateway refuses this machine",
        (_ASK + " to let this machine's address through.",),
    ),
    "metadata-unreachable": Words(
        "the server does not answer", "the connection ends before an answer", ("Try again; then ask its owner.",)
    ),
    "metadata-redirected": Words(
        "base_url leads elsewhere (HTTP {status}), and redirects are never followed",
        "the address is an old or a short one",
        ("Write the address that it leads to as base_url in {file}.",),
    ),
    "metadata-later": Words(
        "the server has trouble (HTTP {status})", "it is starting, overloaded or down", ("Try again later.",)
    ),
    "metadata-refused": Words(
        "the server refuses to show its CapabilityStatement (HTTP {status})",
        "base_url is not the FHIR base",
        ("Correct base_url in {file}.",),
    ),
    "fhir-version": Words("{software}, FHIR {version}"),
    "other-fhir-version": Words(
        "{software} speaks FHIR {version}, not R4 (4.0)",
        "servers have a base address for each version",
        ("Write the R4 address as base_url in {file}.",),
    ),
    "no-type": Words(
        "the server does not know {type}",
        "it is not part of what this server offers, or not switched on",
        (
            _ASK + " to switch {type} on.",
            "For PractitionerRole: do without, with roles = false in [elements] of {file}.",
        ),
    ),
    "interactions": Words("offered: {offered}"),
    "not-readable": Words(
        "no {reads} is offered (offered: {offered})",
        "without it nobody can be found, and nothing is delivered",
        (_ASK + " to switch it on for this client.",),
    ),
    "not-writable": Words(
        "no {writes} is offered (offered: {offered})",
        "mode write would be refused; report, tasks and the comparison work without",
        (_ASK + ' whether staff can be written by FHIR at all; else write mode = "report" in {file}.',),
    ),
    "parameter-not-declared": Words(
        "a search by {parameter} is not declared",
        "the statement is incomplete, or the server ignores the parameter: see the search below",
        ("If the search below is ok, nothing; else " + _ASK[0].lower() + _ASK[1:] + " to switch it on.",),
    ),
    "versioned": Words("versions are kept: nobody's edit is overwritten unseen"),
    "not-versioned": Words(
        "versions are not kept",
        "an edit that someone makes between our read and our write cannot be noticed",
        (_ASK + " to keep versions; until then let no two programs write the same people.",),
    ),
    "conditional-create": Words("conditional create is offered"),
    "plain-create": Words("conditional create is not offered: each create is preceded and followed by a search"),
}

_TOKEN: Mapping[str, Words] = {
    "key": Words("{algorithm} key {kid}, {age} days old"),
    "key-undated": Words("{algorithm} key {kid}"),
    "no-auth": Words("no token is asked for (auth.type = none)"),
    "key-unusable": Words("{problem}", "what {file} names can't be used", ("{advice}",)),
    "key-old": Words(
        "the key is {age} days old",
        "a key that is used for years has had years to leak (auth.key_max_age is {limit} days)",
        ("Make a new one, register it beside the old one, then switch: hl7bridge keys generate, keys jwks OLD NEW.",),
    ),
    "key-exposed": Words(
        "{problem}", "a key that others can read is theirs, too", ("Take the rights away: chmod 600.",)
    ),
    "smart": Words("token endpoint {endpoint}"),
    "no-smart": Words(
        "there is no .well-known/smart-configuration (HTTP {status}), and no token_url is set",
        "so that nobody knows where tokens are given",
        ("Write the token endpoint as token_url in [auth] of {file}; " + _ASK[0].lower() + _ASK[1:] + " for it.",),
    ),
    "no-smart-but-url": Words("no .well-known/smart-configuration; token_url is used"),
    "other-token-endpoint": Words(
        "the server names another token endpoint: {endpoint}",
        "token_url ({configured}) is old, another environment's, or reached past a proxy",
        ("Leave token_url in [auth] of {file} empty, unless the server's owner gave it.",),
    ),
    "algorithm-not-taken": Words(
        "the server does not take {algorithm} (it takes {taken})",
        "the key is of a kind that it does not verify",
        ("Make a key that suits: hl7bridge keys generate FILE --algorithm RS384, and register it.",),
    ),
    "token": Words("granted, for {seconds} s, by {endpoint}"),
    "token-unreachable": Words(
        "{said}",
        "the address is wrong, the server is down, or a firewall is in between",
        ("Observed token_url in [auth] of {file}; have TCP from this machine to it allowed.",),
    ),
    "token-address": Words(
        "{said}",
        "it is not the address of a token endpoint, or not one that may be used",
        ("Leave token_url in [auth] of {file} empty to have it discovered; a foreign host goes into token_hosts.",),
    ),
    "token-later": Words(
        "{said}", "the server has trouble, or was asked too often", ("Try again later; nothing is lost meanwhile.",)
    ),
    "token-unusable": Words(
        "{said}", "what answered is no OAuth token endpoint", ("Correct token_url in [auth] of {file}.",)
    ),
    "token-clock": Words(
        "refused (HTTP {status}, {error}): the clocks are {skew_words} apart",
        "proven: timed by the server's clock, the same assertion is accepted",
        (_CLOCK,),
    ),
    "token-audience": Words(
        "refused (HTTP {status}, {error}): the audience is wrong",
        "proven: with aud = {expected} instead of {audience} the same assertion is accepted",
        ('Write audience = "{expected}" in [auth] of {file}.',),
    ),
    "token-scope": Words(
        "refused (HTTP {status}, {error}): the scopes are not allowed: {missing}",
        "the client is known and its key is right, but it was not given these scopes (granted alone: {granted})",
        ("Have them added to the client's registration: " + _HELP + ".",),
    ),
    "token-perhaps-clock": Words(
        "refused (HTTP {status}, {error}): most likely the clock",
        "the clocks are {skew_words} apart; an assertion lives four minutes, and some servers refuse it after one",
        ("the clock: set both machines' clocks by a time server (NTP), then try again.",),
    ),
    "token-perhaps-audience": Words(
        "refused (HTTP {status}, {error}): most likely the audience",
        "the server expects another aud than {audience}; the usual ones were tried",
        (
            "the audience: ask the server's owner for the aud it expects (behind a proxy it differs), set auth.audience.",
        ),
    ),
    "token-perhaps-client": Words(
        "refused (HTTP {status}, {error}): most likely the client id",
        "production and test have different client ids{tried_words}",
        ("the client id: compare {client_id} with the registration, for this very environment.",),
    ),
    "token-perhaps-key": Words(
        "refused (HTTP {status}, {error}): most likely the key",
        "the server knows another key than the one that signs here, or none under this kid{tried_words}",
        ("the key: " + _KEYS + "; a change may take a day to be seen.",),
    ),
    "token-perhaps-inactive": Words(
        "refused (HTTP {status}, {error}): most likely the client is not active yet",
        "a registration can take hours to be seen, in production days; the client must be tied to a user of the system",
        ("the registration: ask whether the client is active here, and tied to a user of that system.",),
    ),
    "scopes": Words("granted as needed: {needed}"),
    "scopes-missing": Words(
        "not granted: {missing}",
        "needed for this mode are {needed}; the server granted {granted}",
        ("Have them added to the client's registration: " + _HELP + ".",),
    ),
    "scopes-not-asked": Words(
        "not asked for: {missing}",
        "auth.scopes leaves out what this mode needs",
        ("Leave scopes in [auth] of {file} empty: they then follow the mode.",),
    ),
    "scopes-too-wide": Words(
        "granted far beyond need: {more}",
        "needed are {needed}; a token that reads or writes other resources, or deletes, is a risk for nothing",
        ("Have them taken out of the client's registration: " + _HELP + ".",),
    ),
    "scopes-too-many": Words(
        "granted beyond need: {more}",
        "the mode writes nothing, and a token that could is a risk for nothing",
        ("Have them taken out of the client's registration until mode write: " + _HELP + ".",),
    ),
}

_SEARCHES: Mapping[str, Words] = {
    "no-token": Words("not tried: without a token every search is refused"),
    "search": Words("honoured: a search for nobody finds nobody"),
    "search-untold": Words("finds nobody, as it must; but the server shows no people at all: try again with --npi"),
    "search-ignored": Words(
        "search parameter ignored: a search for nobody finds {count} on its first page",
        "the server ignores {parameter} instead of refusing it; nobody could be told apart, so that nothing is written",
        (_ASK + " to switch the search by {parameter} on for {type}; some servers call it a search index.",),
    ),
    "search-unauthorized": Words(
        "refused (HTTP {status}): the server wants a token, or takes this one for invalid",
        "auth.type is none where a token is needed, or the token is another environment's",
        ('Write type = "smart" in [auth] of {file}; see the lines on the token above.',),
    ),
    "search-forbidden": Words(
        "forbidden (HTTP {status})",
        "the token's scopes, or the user that the client is tied to, do not allow to search {type}",
        ("Have system/{type}.read and the search API added to the client's registration: " + _HELP + ".",),
    ),
    "search-unreachable": Words(
        "no answer", "the connection ends before an answer", ("Try again; then ask its owner.",)
    ),
    "search-redirected": Words(
        "leads elsewhere (HTTP {status})", "redirects are never followed", ("Correct base_url in {file}.",)
    ),
    "search-later": Words(
        "not answered (HTTP {status})", "the server has trouble, or was asked too often", ("Try again later.",)
    ),
    "search-not-there": Words(
        "not offered (HTTP {status})",
        "the server does not search {type}, or not by this method",
        ('Write search_method = "get" in {file}; for PractitionerRole, roles = false in [elements].', _ASK + "."),
    ),
    "search-refused": Words(
        "search parameter refused (HTTP {status})",
        "the server does not search {type} like this",
        (
            _ASK
            + " to switch the search on; for PractitionerRole, or do without: roles = false in [elements] of {file}.",
        ),
    ),
    "search-not-fhir": Words(
        "answered with something that is no FHIR (HTTP {status})",
        "a login page or proxy stands in between",
        (_ASK + " what stands between.",),
    ),
    "pages-untold": Words("not tried: the server lists nobody without a criterion (HTTP {status})"),
    "count-ignored": Words(
        "_count is ignored: {count} on a page of 1",
        "answers may be larger than they need be",
        ("Nothing, unless searches become slow.",),
    ),
    "one-page": Words("all there is fits on one page"),
    "pages": Words("_count is honoured, and the next page can be read"),
    "foreign-link": Words(
        "the next page's link leads to another address than base_url",
        "the server stands behind a proxy and does not know its public address; a token is never sent there",
        (_ASK + " to set the server's public base address, or write that address as base_url in {file}.",),
    ),
    "next-page-fails": Words(
        "the next page can't be read (HTTP {status})",
        "pages end too soon, or at another node of the server",
        (_ASK + ".",),
    ),
    "npi-found": Words("honoured: one Practitioner ({id}) carries it"),
    "npi-ignored": Words(
        "ignored: {count} found, of whom {found} carry it",
        "the server ignores the search, or looks for something else",
        (_ASK + " to switch the search by identifier on for NPIs.",),
    ),
    "npi-several": Words(
        "{found} Practitioners carry it: {ids}",
        "duplicates at the server: such people are held, never picked",
        ("Have them merged at the server.",),
    ),
    "npi-not-found": Words(
        "nobody carries it",
        "the person is not there, or the NPI is not held, or not searched",
        ("Try an NPI that the server's own page shows.",),
    ),
    "npi-other-system": Words(
        "held under another identifier system: {systems}",
        "the server does not know it as an NPI ({found} found by the NPI's own systems)",
        ("Tell the feed's authority for NPIs that system in [systems] of {file}.",),
    ),
    "no-joined-search": Words(
        "not found among several identifiers (HTTP {status})",
        "the server does not search for one of several values, which deliveries do",
        (_ASK + ": it is FHIR's `identifier=a,b`.",),
    ),
}

WORDS: Mapping[str, Words] = {**_CONNECTION, **_OFFERED, **_TOKEN, **_SEARCHES}
