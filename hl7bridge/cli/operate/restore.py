"""`hl7bridge restore`: take back what a delivery wrote, as far as nobody changed it since."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.deciding import ReasonOption, account
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.desk.deciding import why
from hl7bridge.errors import ConfigError

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.destinations.fhir.rules import DestinationRules
    from hl7bridge.destinations.fhir.wire.client import FhirClient
    from hl7bridge.model import Image, Written
    from hl7bridge.store.store import Store

REPLANS = 3  # after a version conflict, or an answer that got lost

PLANNED, APPLIED, WAITING, NOTHING, FAILED = "planned", "applied", "waiting", "nothing", "failed"
_UNDER_WAY = frozenset({"scheduled", "queued", "claimed", "retry", "unknown"})

_PASSING = frozenset({"unreachable", "transient", "auth"})  # kinds of replies that a later try may cure

_STATES = {
    PLANNED: "planned, nothing is written",
    APPLIED: "taken back",
    WAITING: "waits for somebody else's approval",
    NOTHING: "nothing to take back",
    FAILED: "not taken back",
}


def restore(
    delivery_id: Annotated[
        int, typer.Argument(metavar="DELIVERY-ID", show_default=False, help="A delivery, as `msg show` shows it.")
    ] = 0,
    message_id: Annotated[
        int, typer.Option("--message", metavar="ID", show_default=False, help="Every delivery of this message.")
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing: show what would be taken back.")] = False,
    waiting: Annotated[bool, typer.Option("--waiting", help="List restores that wait for approval.")] = False,
    approve: Annotated[
        int, typer.Option("--approve", metavar="N", show_default=False, help="Carry out a restore that waits.")
    ] = 0,
    reject: Annotated[
        int, typer.Option("--reject", metavar="N", show_default=False, help="End a restore that waits.")
    ] = 0,
    reason: ReasonOption = "",
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Take back what a delivery wrote, field by field: only what it changed, and what nobody changed since.

    \b
      hl7bridge restore 42 --dry-run                        what would be taken back? (reads only)
      hl7bridge restore 42 --reason "wrong person"
      hl7bridge restore --message 17 --reason "wrong file"  every delivery of message 17
      hl7bridge restore --waiting                           mode approve: what waits
      hl7bridge restore --approve 3 --reason "checked"      by somebody else than who asked

    What the write had created is made inactive, never deleted. Where the destination's mode is report, it is planned only;
    in mode approve, it waits until somebody else approves it. The history says who did it, and why.

    A message that says the same again changes it again: that opens a task (restore-undone).

    Ends with 1 when something could not be taken back, with 3 when the FHIR server is out of reach.
    """
    from hl7bridge.config import load

    if sum(map(bool, (delivery_id, message_id, waiting, approve, reject))) != 1:
        raise ConfigError("say what", advice="Name a delivery, or one of --message, --waiting, --approve and --reject.")
    settings = load(config)
    reason = "" if dry_run or waiting else why(reason)
    with stored.opened(settings) as store:
        if waiting:
            _list_waiting(store, as_json)
            return
        if reject:
            _reject(store, reject, reason, as_json)
            return
        asked = _waiting(store, approve) if approve else None
        ids = [asked["delivery_id"]] if asked else [delivery_id] if delivery_id else _deliveries_of(store, message_id)
        with (
            _WayBack(settings, store, dry_run, reason, asked) as way,
            output.progress("restoring", len(ids)) as advance,
        ):
            documents = []
            for one in ids:
                documents.append(way.take_back(one))
                advance()
    if as_json:
        output.show_json("restore/1", {"deliveries": documents})
    else:
        for document in documents:
            _show(document)
    raise typer.Exit(_verdict(documents))


def _verdict(documents: list[dict[str, Any]]) -> ExitCode:
    if any(document["unreachable"] for document in documents):
        return ExitCode.UNREACHABLE
    left = any(document["problem"] or resource["kept"] or resource["problem"] for document in documents
               for resource in (document["resources"] or [{"kept": [], "problem": ""}]))  # fmt: skip
    return ExitCode.FINDINGS if left else ExitCode.GOOD


# --- choosing --------------------------------------------------------------------------------------------------------


def _deliveries_of(store: Store, message_id: int) -> list[int]:
    """The latest first, so that what was written last is taken back first."""
    message = stored.message_of(store, message_id)
    return sorted((d["id"] for record in message["records"] for d in record["deliveries"]), reverse=True)


def _waiting(store: Store, restore_id: int) -> dict[str, Any]:
    from hl7bridge.store.store import same_person

    found = store.restores(restore_id=restore_id, state=WAITING)
    if not found:
        raise ConfigError(f"no restore {restore_id} waits", advice="`hl7bridge restore --waiting` shows those that do.")
    if same_person(found[0]["who"], account()):
        raise ConfigError(f"restore {restore_id} is your own", advice="Somebody else has to approve it.")
    return found[0]


def _list_waiting(store: Store, as_json: bool) -> None:
    found = store.restores(state=WAITING)
    if as_json:
        rows = [row | {"asked": stored.utc_time(row["asked"])} for row in found]
        names = ("id", "asked", "who", "reason", "delivery_id", "message_id", "destination", "feed", "source_key")
        output.show_json("restore-waiting/1", {"restores": [{name: row[name] for name in names} for row in rows]})
        return
    output.show_table(
        ("restore", "asked", "who", "why", "delivery", "destination", "feed", "person"),
        [
            (
                row["id"], stored.local_time(row["asked"]), row["who"], row["reason"], row["delivery_id"],
                row["destination"], row["feed"], row["source_key"],
            )
            for row in found
        ],
    )  # fmt: skip
    if not found:
        output.say("No restore waits.")


def _reject(store: Store, restore_id: int, reason: str, as_json: bool) -> None:
    done = store.reject_restore(restore_id, time.time(), who=account(), reason=reason)
    if not done:
        raise ConfigError(f"no restore {restore_id} waits", advice="`hl7bridge restore --waiting` shows those that do.")
    if as_json:
        output.show_json("restore-rejected/1", {"id": restore_id})
    else:
        output.show(f"restore {restore_id} is rejected")


# --- the way back ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _WayBack:
    """Takes deliveries back, one after the other. A context manager: it closes its clients."""

    settings: Settings
    store: Store
    dry_run: bool
    reason: str
    asked: dict[str, Any] | None
    _clients: dict[str, tuple[DestinationRules, FhirClient]] = field(default_factory=dict)

    def __enter__(self) -> _WayBack:
        return self

    def __exit__(self, *_: object) -> None:
        for opened in self._clients.values():
            opened[1].close()

    def take_back(self, delivery_id: int) -> dict[str, Any]:
        """What became of one delivery, as a document."""
        from hl7bridge.destinations.fhir.restore import combined

        delivery = self.store.delivery(delivery_id)
        if delivery is None:
            raise ConfigError(
                f"there is no delivery {delivery_id}", advice="`hl7bridge msg show ID` shows its deliveries."
            )
        document: dict[str, Any] = {
            name: delivery[name] for name in ("message_id", "destination", "feed", "source_key")
        }
        document = {"delivery_id": delivery_id, **document, "state": NOTHING, "restore_id": 0, "problem": ""}
        document |= {"unreachable": False, "resources": []}
        images = combined(self.store.images(delivery_id), delivery["person_id"])
        problem = self._obstacle(delivery, images)
        if problem:
            return document | {"problem": problem, "state": FAILED}
        rules, client = self._client(delivery["destination"])
        plans = [self._resource(delivery, client, image, write=False)[0] for image in images]
        document["resources"] = plans
        document["unreachable"] = any(plan["unreachable"] for plan in plans)
        changes = [plan for plan in plans if plan["differences"]]
        if document["unreachable"] or (not changes and any(plan["problem"] for plan in plans)):
            document["state"] = FAILED
        elif changes:
            mode = "report" if self.dry_run else _mode(rules, changes)
            document["state"] = PLANNED
            if mode == "approve" and self.asked is None:
                who, now = account(), time.time()
                document["restore_id"] = self.store.ask_restore(delivery_id, now, who=who, reason=self.reason)
                document["state"] = WAITING
            elif mode != "report":
                self._apply(document, delivery, client, images)
        return document

    def _obstacle(self, delivery: dict[str, Any], images: tuple[Image, ...]) -> str:
        if delivery["state"] in _UNDER_WAY:
            return f"the delivery has not ended ({delivery['state']})"
        if delivery["under_way"]:
            return "a change of the same person is being delivered: try again when that has ended"
        if delivery["destination"] not in self.settings.destinations:
            return f"there is no destination {delivery['destination']} any more"
        return "" if images else "it wrote nothing, or what it found is not kept any more"

    def _client(self, name: str) -> tuple[DestinationRules, FhirClient]:
        from hl7bridge.assemble.destinations import client_for, destination_rules

        if name not in self._clients:
            destination = self.settings.destinations[name]
            rules = destination_rules(destination)
            self._clients[name] = rules, client_for(destination, rules)
        return self._clients[name]

    def _apply(
        self, document: dict[str, Any], delivery: dict[str, Any], client: FhirClient, images: tuple[Image, ...]
    ) -> None:
        from hl7bridge.store.restoring import element_name

        done, bases, elements = [], [], set()
        for image in images:
            resource, base = self._resource(delivery, client, image, write=True)
            done.append(resource)
            if resource["problem"] or not resource["differences"]:
                continue
            where = resource["resource_type"], resource["resource_id"]
            elements |= {element_name(*where, difference["path"]) for difference in resource["differences"]}
            bases += [base] if base is not None else []
        document["resources"] = done
        document["unreachable"] = any(resource["unreachable"] for resource in done)
        document["state"] = APPLIED if elements else FAILED if any(r["problem"] for r in done) else NOTHING
        if elements:
            document["restore_id"] = self.store.restored(
                delivery["id"], time.time(), who=account(), reason=self.reason, elements=sorted(elements), bases=bases,
                restore_id=self.asked["id"] if self.asked else 0,
            )  # fmt: skip

    def _resource(
        self, delivery: dict[str, Any], client: FhirClient, image: Image, *, write: bool
    ) -> tuple[dict[str, Any], Written | None]:
        """One resource read, planned and, if `write`, written and verified; and the base that it leaves."""
        from hl7bridge.destinations.fhir.happened import happened
        from hl7bridge.destinations.fhir.outcomes import of_reply
        from hl7bridge.destinations.fhir.restore import plan_restore
        from hl7bridge.destinations.fhir.wire.replies import ReplyKind

        named = {"resource_type": image.resource_type, "resource_id": image.resource_id, "unreachable": False}
        empty = {**named, "reason": "", "differences": [], "kept": [], "problem": ""}
        sent_plan = None
        for _ in range(REPLANS + 1):
            read = client.read(image.resource_type, image.resource_id)
            if read.kind in (ReplyKind.NOT_FOUND, ReplyKind.GONE):
                return {**empty, "problem": "it is not at the server any more"}, None
            if not read.done or read.resource is None:
                passing = read.kind in _PASSING
                return {**empty, "problem": of_reply(read, "read").text, "unreachable": passing}, None
            own, others = self._bases(delivery, image)
            plan = plan_restore(image, read.resource, own, others, datetime.now(UTC).date().isoformat())
            if sent_plan is not None and not plan.interaction.differences:
                plan = sent_plan  # its answer was lost, and it arrived
            shown = {
                **empty,
                "reason": plan.interaction.reason,
                "differences": [asdict(difference) for difference in plan.interaction.differences],
                "kept": [asdict(difference) for difference in plan.kept],
            }
            if not write or not plan.interaction.differences or plan is sent_plan:
                return shown, plan.base
            body = plan.interaction.body or {}
            reply = client.update(
                image.resource_type, image.resource_id, body, version=read.version or plan.interaction.version,
                seen=read.resource, dropped=frozenset(read.resource.keys() - body.keys()),
            )  # fmt: skip
            if reply.kind is ReplyKind.CONFLICT:
                continue  # somebody edits it at this moment: their edit stays
            if reply.kind is ReplyKind.AMBIGUOUS:
                sent_plan = plan
                continue
            if not reply.done:
                passing = reply.kind in _PASSING
                return {**shown, "problem": of_reply(reply, "update").text, "unreachable": passing}, None
            resource, version = reply.resource, reply.version
            if resource is None or not happened(plan.interaction, resource):
                again = client.read(image.resource_type, image.resource_id)
                resource, version = again.resource, again.version
            if resource is None or not happened(plan.interaction, resource):
                return {**shown, "problem": "the server answered that it is done, but does not show it"}, None
            return shown, replace(plan.base, version=version) if plan.base is not None else None
        return {**empty, "problem": "the resource changes all the time: try again later"}, None

    def _bases(self, delivery: dict[str, Any], image: Image) -> tuple[Written | None, list[Written]]:
        """The record's base on the resource, and what all others wrote there."""
        bases = self.store.written_by(delivery["destination"], image.resource_type, image.resource_id)
        mine = (delivery["feed"], delivery["source_key"])
        own = [base for base in bases if (base.feed, base.source_key) == mine]
        return own[0] if own else None, [base for base in bases if base not in own]


def _mode(rules: DestinationRules, plans: list[dict[str, Any]]) -> str:
    """The strictest mode of what is to be written."""
    ends = any(difference["path"] == "active" and difference["after"] is False
               for plan in plans for difference in plan["differences"])  # fmt: skip
    modes = {rules.mode_of("update"), *([rules.mode_of("deactivate")] if ends else [])}
    return "report" if "report" in modes else "approve" if "approve" in modes else "write"


# --- showing ---------------------------------------------------------------------------------------------------------


def _show(document: dict[str, Any]) -> None:
    style = output.GOOD if document["state"] in (APPLIED, PLANNED, NOTHING) else output.BAD
    number = f" {document['restore_id']}" if document["restore_id"] else ""
    output.show(
        (f"delivery {document['delivery_id']}", "bold"),
        f"  {document['source_key']}  at {document['destination']}: ",
        (_STATES[document["state"]], style),
        f"  (restore{number})" if number else "",
    )
    if document["problem"]:
        output.show("  ", (document["problem"], output.BAD))
    for resource in document["resources"]:
        output.show(f"  {resource['resource_type']}/{resource['resource_id']}  ", (resource["reason"], output.QUIET))
        stored.show_differences(resource["differences"], "    ")
        for kept in resource["kept"]:
            output.show(
                "    ", ("= ", output.QUIET), f"{kept['path']}: stays, it was changed since or is another's too"
            )
        if resource["problem"]:
            output.show("    ", (resource["problem"], output.BAD))
