"""Files that nobody should be able to bring in: one function a kind of hostility, each returns the bytes of a file.

`CASES`: name of the file -> (maker, what the refusal must say). Every case goes through the whole import, format detected.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import struct
import zipfile
from collections.abc import Callable

import numpy as np
import polars as pl
import zstandard

T_MS = 1_700_000_000_000
TRADES = "id,price,qty,quote_qty,time,is_buyer_maker\n"
AGG = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
TARDIS = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"


def trades(*rows: str) -> bytes:
    """Return a Binance trade dump: good rows with these in the middle."""
    good = [f"{i},42000.{i % 10},0.001,42.0,{T_MS + i},true" for i in range(1, 21)]
    return (TRADES + "\n".join([*good[:10], *rows, *good[10:]]) + "\n").encode()


def trade(**changes: str) -> bytes:
    """Return the dump with one row (row 12 of the file) changed."""
    fields = {"id": "11", "price": "42000.1", "qty": "0.001", "quote": "42.0", "time": str(T_MS + 10), "maker": "true"}
    return trades(",".join((fields | changes).values()))


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def encrypted() -> bytes:
    raw = bytearray(zipped({"BTCUSDT-trades-2023-11-14.csv": trades()}))
    # The flag of encryption, in the local header and in the directory.
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    return bytes(raw)


def gzip_bomb() -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6) as stream:
        stream.write(TRADES.encode())
        block = b"1,1.0,1.0,1.0,1700000000000,true\n" * 100_000
        for _ in range(30):
            stream.write(block)
    return out.getvalue()


def zip_bomb() -> bytes:
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("BTCUSDT-trades-2023-11-14.csv", "w") as file,
    ):
        file.write(TRADES.encode())
        block = b"0" * 10_000_000
        for _ in range(12):
            file.write(block)
    return out.getvalue()


def collector(*lines: str) -> bytes:
    good = json.dumps(
        {
            "stream": "x@trade",
            "data": {"e": "trade", "E": T_MS, "T": T_MS, "s": "X", "t": 1, "p": "10.0", "q": "1.0", "m": True},
        }
    )
    return "".join(f"{line}\n" for line in (f"{T_MS}000000 {good}", *lines)).encode()


def npz(rows: int, declared: int | None = None) -> bytes:
    dtype = np.dtype([("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8"), ("order_id", "u8"),
                      ("ival", "i8"), ("fval", "f8")], align=True)  # fmt: skip
    data = np.zeros(rows, dtype)
    data["ev"], data["exch_ts"], data["local_ts"] = (3 << 30) | (1 << 29) | 1, T_MS * 10**6, T_MS * 10**6
    data["px"], data["qty"] = float("nan"), 1.0
    out = io.BytesIO()
    np.savez(out, data=data)
    raw = out.getvalue()
    if declared is None:
        return raw
    return raw.replace(
        f"'shape': ({rows},)".encode(),
        f"'shape': ({declared},)".encode().ljust(len(f"'shape': ({rows},)"))[: len(f"'shape': ({rows},)")],
    )


def pickled() -> bytes:
    out = io.BytesIO()
    np.savez(out, data=np.array([{"a": 1}], dtype=object))
    return out.getvalue()


def parquet(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


def itch() -> bytes:
    return struct.pack(">H", 12) + b"S" + bytes(11) + struct.pack(">H", 36) + b"A" + bytes(10)


MIXED = trade(time=str((T_MS + 10) * 1000))
CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    # what is no file of ours at all
    "empty.csv": (lambda: b"", "empty.csv.*(of no known format|zero events|empty)"),
    "blank.csv": (lambda: b"\n\n  \n", "blank.csv"),
    "zeros.gz": (lambda: gzip.compress(bytes(1_000_000)), "zeros.gz"),
    "noise.bin": (lambda: np.random.default_rng(1).bytes(100_000), "noise.bin"),
    "script.py": (lambda: b"import os\nos.system('true')\n", "script.py"),
    "page.html": (lambda: b"<!doctype html><html><body>502 Bad Gateway</body></html>", "page.html"),
    # cut off or damaged
    "BTCUSDT-trades-2023-11-14.csv.gz": (lambda: gzip.compress(trades() * 300)[:-900], "damaged or cut off"),
    "BTCUSDT-trades-2023-11-15.zip": (lambda: zipped({"BTCUSDT-trades-2023-11-15.csv": trades()})[:-40], "damaged or cut off"),
    "BTCUSDT-trades-2023-11-16.csv.xz": (lambda: lzma.compress(trades() * 300)[:-500], "damaged or cut off|of no known format"),
    "BTCUSDT-trades-2023-11-17.csv.zst": (lambda: zstandard.compress(trades() * 300)[:-30], "damaged or cut off"),
    "half-a-row.csv": (lambda: trades()[:-14], "row 21"),
    # archives with an intent
    "traversal.zip": (lambda: zipped({"../../etc/cron.d/x.csv": trades()}), "leads outside"),
    "absolute.zip": (lambda: zipped({"/etc/passwd": trades()}), "leads outside"),
    "backslash.zip": (lambda: zipped({"..\\..\\x.csv": trades()}), "leads outside"),
    "encrypted.zip": (encrypted, "encrypted"),
    "many.zip": (lambda: zipped({f"{i}.csv": b"" for i in range(10_001)}), "more than 10000 files"),
    "bomb.csv.gz": (gzip_bomb, "expands to more than"),
    "bomb.zip": (zip_bomb, "expands to more than|a line of more than"),
    # numbers that are none, or cannot be
    "nan.csv": (lambda: trade(price="NaN"), "row 12, column price.*NaN"),
    "infinite.csv": (lambda: trade(price="inf"), "row 12, column price.*inf"),
    "huge.csv": (lambda: trade(qty="1e30"), "row 12, column qty.*1e30"),
    "billion-price.csv": (lambda: trade(price="1000000000"), "row 12, column price.*1000000000"),
    "tiny-decimals.csv": (lambda: trade(price="42000.0000000000000000001"), "row 12, column price"),
    "negative-price.csv": (lambda: trade(price="-42000.1"), "row 12, column price.*-42000.1"),
    "negative-quantity.csv": (lambda: trade(qty="-1.0"), "row 12, column qty.*negative"),
    "zero-price.csv": (lambda: trade(price="0"), "row 12, column price"),
    "words.csv": (lambda: trade(price="forty-two"), "row 12, column price.*forty-two"),
    "arabic-digits.csv": (lambda: trade(price="٤٢٠٠٠"), "row 12, column price"),
    "empty-field.csv": (lambda: trade(price=""), "row 12, column price.*empty"),
    "boolean.csv": (lambda: trade(maker="maybe"), "row 12, column is_buyer_maker.*maybe"),
    # rows that do not fit
    "extra-column.csv": (lambda: trade(maker="true,true"), "row 12.*7 fields"),
    "missing-column.csv": (lambda: trades("11,42000.1,0.001"), "row 12.*3 fields"),
    "nul.csv": (lambda: trade(price="42\x00000"), "row 12"),
    "not-utf8.csv": (lambda: trades().replace(b"42000.3", b"\xff\xfe000.3"), "row 4"),
    "one-line.csv": (lambda: TRADES.encode() + b"1" * (17 << 20), "row 2"),
    "header-only.csv": (TRADES.encode, "zero events|no row"),
    # times
    "mixed-units.csv": (lambda: MIXED, "row 12, column time"),
    "year-2600.csv": (lambda: trade(time=str(T_MS * 12)), "row 12, column time"),
    "negative-time.csv": (lambda: trade(time="-5"), "row 12, column time"),
    "backwards.csv": (lambda: trade(time=str(T_MS - 86_400_000)), "receive_time_reversals.*--sort"),
    # other formats
    "tardis.csv": (lambda: (TARDIS + f"binance,BTCUSDT,{T_MS}000,{T_MS}000,1,buy,1e400,1\n").encode(), "row 2, column price"),
    "tardis-side.csv": (lambda: (TARDIS + f"binance,BTCUSDT,{T_MS}000,{T_MS}000,1,up,1,1\n").encode(), "row 2, column side.*up"),
    "tardis-names.csv": (lambda: (TARDIS + f"../..,BTC/../USDT,{T_MS}000,{T_MS}000,1,buy,1,1\n").encode(), "venue"),
    "collector.txt": (lambda: collector(f"{T_MS}000001 " + '{"a":' * 50_000), "row 2"),
    "collector-nan.txt": (lambda: collector(f'{T_MS}000001 {{"stream":"x@trade","data":{{"e":"trade","s":"X","t":2,"p":"NaN","q":"1","m":true,"E":{T_MS},"T":{T_MS}}}}}'), "row 2.*NaN"),
    "collector-surrogate.txt": (lambda: collector(f'{T_MS}000001 {{"stream":"x@trade","data":{{"s":"\\ud800"}}}}'), "row 2"),
    "nan.npz": (lambda: npz(10), "nan.npz"),
    "lie.npz": (lambda: npz(10, 99), "lie.npz"),
    "object.npz": (pickled, "object.npz"),
    "01302019.NASDAQ_ITCH50": (itch, "01302019.NASDAQ_ITCH50"),
    "short.dbn": (lambda: b"DBN\x01" + bytes(40), "short.dbn"),
    "nulls.parquet": (lambda: parquet(pl.DataFrame({"a": [None, 1]})), "nulls.parquet"),
    "ETH_BTC-5m.feather": (lambda: b"ARROW1\x00\x00" + bytes(100), "ETH_BTC-5m.feather"),
}  # fmt: skip
