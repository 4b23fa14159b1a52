"""Validate the parameters and the body of a request, and say what is wrong with each in plain words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from functools import cache
from typing import Annotated, Any, Final

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from msgspec import Meta, inspect

from seatweb.api.problems import MalformedJSON
from seatweb.errors import InvalidInput, Message
from seatweb.http.forms import parse_form

OAUTH_FIELDS: Final = frozenset({"grant_type", "scope", "client_id", "client_secret"})
"""Sent too by clients that use OAuth 2.0's password grant (RFC 6749, section 4.3); ignored."""

Errors = dict[str, Message]
"""What is wrong with each field or parameter, by name."""


def query_errors(handler: HTTPRouteHandler, query: Collection[tuple[str, str]]) -> Errors:
    """Return what is wrong with the query of a URL."""
    declared = _declared(handler)
    errors = {name: Message("field.unknown_parameter") for name, _ in query if name not in declared}
    for name, value in query:
        if name in declared and (error := _mismatch(value, declared[name], strict=False)):
            errors[name] = error
    return errors | duplicates(query)


def read_json(body: bytes, struct: type[msgspec.Struct] | None) -> dict[str, Any]:
    """Return the JSON object in a body whose fields the struct declares.

    Raises:
        MalformedJSON: it is not JSON.
        InvalidInput: it is no object, or a field is missing, unknown, repeated or not what it must be.
    """
    try:
        content = msgspec.json.decode(body)
        # With as many colons as names, there is neither a duplicate nor a nested object: skip the slow check.
        simple = isinstance(content, dict) and body.count(b":") == len(content)
        errors = {} if simple else _duplicate_names(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedJSON from error
    if not isinstance(content, dict):
        raise InvalidInput(reason="no_object", fields={"body": Message("field.no_object")})
    errors = errors or (_field_errors(content, struct) if struct else {})
    if errors:
        raise InvalidInput(fields=errors)
    return content


def read_form(body: bytes, struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the fields of a form, as the struct declares them; those of OAuth 2.0 are left out.

    Raises:
        InvalidInput: it cannot be read, or a field is missing, unknown, repeated or not what it must be.
    """
    try:
        pairs = parse_form(body)
    except ValueError:
        raise InvalidInput(reason="unreadable_form") from None
    content = {name: value for name, value in pairs if name not in OAUTH_FIELDS}
    errors = _field_errors(content, struct) | duplicates(pairs)
    if errors:
        raise InvalidInput(fields=errors)
    return content


def duplicates(pairs: Iterable[tuple[str, Any]]) -> Errors:
    """Return an error for each name that occurs twice: which of the values counts would be a guess."""
    return {name: Message("field.twice") for name, times in Counter(name for name, _ in pairs).items() if times > 1}


@cache
def _declared(handler: HTTPRouteHandler) -> dict[str, Any]:
    """Return the type of each query parameter of a route, by name."""
    found = {}
    for name, field in handler.parsed_fn_signature.parameters.items():
        parameter = field.kwarg_definition
        if isinstance(parameter, QueryParameter):
            found[name] = Annotated[field.annotation, Meta(ge=parameter.ge, le=parameter.le)]
    return found


def _duplicate_names(body: bytes) -> Errors:
    """Return the names that an object has twice: parsers disagree on which value counts (RFC 8259, section 4)."""
    found: Errors = {}
    json.loads(body, object_pairs_hook=lambda pairs: found.update(duplicates(pairs)), parse_int=str, parse_float=str)
    return found


@cache
def _fields(struct: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(struct)}


def _field_errors(content: dict[str, Any], struct: type[msgspec.Struct]) -> Errors:
    """Return what is wrong with each field; unlike Litestar's parsing, accept neither "1" nor true as a number."""
    fields = _fields(struct)
    errors = {
        name: Message("field.missing") for name, field in fields.items() if field.required and name not in content
    }
    for name, value in content.items():
        if name not in fields:
            errors[name] = Message("field.unknown")
        elif isinstance(value, str) and "\0" in value:
            errors[name] = Message("field.unusable_text")
        elif error := _mismatch(value, fields[name].type, strict=True):
            errors[name] = error
    return errors


def _mismatch(value: object, wanted: Any, *, strict: bool) -> Message | None:  # noqa: ANN401 - a type expression
    """Return a message that says what a value must be, if it is something else."""
    try:
        msgspec.convert(value, wanted, strict=strict)
    except msgspec.ValidationError:
        return _requirement(inspect.type_info(wanted))
    return None


REQUIREMENTS: Final[dict[type[inspect.Type], Message]] = {
    inspect.IntType: Message("field.whole_number"),
    inspect.BoolType: Message("field.true_or_false"),
    inspect.DateType: Message("field.date"),
}


def _requirement(wanted: inspect.Type) -> Message:
    match wanted:
        case inspect.Metadata(type=inner):
            return _requirement(inner)
        case inspect.UnionType(types=choices):
            return _requirement(next(choice for choice in choices if not isinstance(choice, inspect.NoneType)))
        case inspect.IntType(ge=int(least), le=int(most)):
            return Message("field.number_between", {"least": least, "most": most})
        case inspect.LiteralType(values=values):
            return Message("field.one_of", {"values": ", ".join(map(str, values))})
        case _:
            return REQUIREMENTS.get(type(wanted), Message("field.text"))
