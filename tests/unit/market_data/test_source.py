"""Files as users have them: compressed, in archives, damaged, malicious."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zipfile

import pytest
import zstandard

from market_maker.domain.errors import DataError
from market_maker.market_data import source as source_module
from market_maker.market_data.source import Source

TEXT = b"".join(b"line %d\n" % i for i in range(1, 2001))


def zipped(files, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


FORMS = {
    "plain": lambda data: data,
    "gz": gzip.compress,
    "gz in two members": lambda data: gzip.compress(data[:5000]) + gzip.compress(data[5000:]),
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "bz2 in two streams": lambda data: bz2.compress(data[:5000]) + bz2.compress(data[5000:]),
    "zst": zstandard.compress,
    "zst in two frames": lambda data: zstandard.compress(data[:5000]) + zstandard.compress(data[5000:]),
    "zip": lambda data: zipped({"data.csv": data}),
    "zip with a readme": lambda data: zipped({"README.txt": b"hello", "data.csv": data, "folder/": b""}),
}


def write(tmp_path, content, name="f.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_all_compressions_give_the_same_lines(tmp_path, form):
    # The content decides, never the name.
    source = Source(write(tmp_path, FORMS[form](TEXT), "misnamed.bin"))
    assert list(source.lines()) == [(i, b"line %d" % i) for i in range(1, 2001)]
    assert b"".join(block for _, block in source.blocks(size=1000)) == TEXT
    with source.open() as stream:
        assert stream.read() == TEXT
    assert source.head(size=10) == TEXT[:10]
    assert source.first_line() == "line 1"


@pytest.mark.parametrize("form", ["plain", "gz", "zst", "zip"])
def test_blocks_are_whole_lines_with_the_row_of_the_first(tmp_path, form):
    source = Source(write(tmp_path, FORMS[form](TEXT + b"\n\nend")))
    lines = TEXT.split(b"\n")
    for row, block in source.blocks(size=777):
        if row <= 2000:
            assert block.split(b"\n")[0] == lines[row - 1]
            assert block.endswith(b"\n")
    assert (row, block) == (2003, b"end"), "a last line without an end, after two blank ones"
    assert list(source.lines())[-1] == (2003, b"end")


def test_names(tmp_path):
    assert Source(write(tmp_path, b"x", "a.csv.gz")).name == "a.csv"
    assert Source(write(tmp_path, zipped({"dir/b.csv.gz": b"x"}), "a.zip")).name == "b.csv"
    two = Source(write(tmp_path, zipped({"b.csv": b"x", "c.csv": b"y"}), "a.zip"))
    assert (two.name, two.members, two.head()) == ("a", ("b.csv", "c.csv"), b"")
    assert (two.head("c.csv"), list(two.lines("b.csv"))) == (b"y", [(1, b"x")])
    with pytest.raises(DataError, match=r"a\.zip: the archive holds 2 files; one is needed"):
        list(two.lines())


def test_first_line_is_text_whatever_the_bytes(tmp_path):
    assert Source(write(tmp_path, b"\n \n\xef\xbb\xbfa,b\n")).first_line() == "a,b"
    assert Source(write(tmp_path, b"\xff\xfe")).first_line() == "\ufffd\ufffd"
    assert Source(write(tmp_path, b"")).first_line() == ""


@pytest.mark.parametrize("name", ["../evil.csv", "/etc/passwd", "a/../../b", "..\\evil", "C:\\evil", "c:evil"])
def test_names_that_lead_outside_are_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"f\.csv: the archive holds a file named .* which leads outside"):
        Source(write(tmp_path, zipped({"good.csv": b"x", name: b"y"})))
    assert list(tmp_path.iterdir()) == [tmp_path / "f.csv"]


def test_an_encrypted_archive_is_refused(tmp_path):
    data = bytearray(zipped({"a.csv": b"secret"}, zipfile.ZIP_STORED))
    # Bit 0 of the flags, in the local header (offset 6) and in the central directory (offset 8), says encrypted.
    central = data.find(b"PK\x01\x02")
    for at in (6, central + 8):
        struct.pack_into("<H", data, at, struct.unpack_from("<H", data, at)[0] | 1)
    with pytest.raises(DataError, match=r"f\.csv: the archive is encrypted"):
        Source(write(tmp_path, bytes(data)))


def test_an_archive_of_too_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "_MEMBERS_MAX", 3)
    with pytest.raises(DataError, match="holds more than 3 files"):
        Source(write(tmp_path, zipped({f"{i}.csv": b"x" for i in range(4)})))


@pytest.mark.parametrize("form", ["gz", "xz", "bz2", "zst", "zip"])
def test_a_file_that_is_cut_off_says_so(tmp_path, form):
    whole = FORMS[form](TEXT * 20)
    path = write(tmp_path, whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"^f\.csv.*(damaged|cut off)"):
        list(Source(path).lines())
    with pytest.raises(DataError, match=r"^f\.csv.*(damaged|cut off)"), Source(path).open() as stream:
        stream.read()


@pytest.mark.parametrize("form", ["gz", "xz", "bz2", "zip"])
def test_damage_in_the_middle_is_found(tmp_path, form):
    whole = bytearray(FORMS[form](TEXT * 20))
    middle = len(whole) // 2
    whole[middle : middle + 8] = bytes(8)
    with pytest.raises(DataError, match=r"^f\.csv.*(damaged|cut off)"):
        list(Source(write(tmp_path, bytes(whole))).lines())


@pytest.mark.parametrize("form", ["gz", "xz", "bz2", "zst", "zip"])
def test_a_bomb_is_stopped(tmp_path, form, monkeypatch):
    monkeypatch.setattr(source_module, "_EXPANSION_FREE", 1 << 20)
    source = Source(write(tmp_path, FORMS[form](b"0123456\n" * (1 << 20))))
    assert source.size * source_module.EXPANSION_MAX < 8 << 20
    given = 0
    refused = pytest.raises(DataError, match=rf"f\.csv: it expands to more than 300 times its {source.size} bytes")
    with refused:
        for _, block in source.blocks(size=1 << 18):
            given += len(block)
    assert given <= (1 << 20) + 300 * source.size
    with pytest.raises(DataError, match="it expands"), source.open() as stream:
        stream.read()


def test_a_line_without_end_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "LINE_BYTES_MAX", 1000)
    source = Source(write(tmp_path, b"a\n" + b"x" * 5000))
    with pytest.raises(DataError, match=r"f\.csv, row 2: a line of more than 1000 bytes"):
        list(source.blocks(size=500))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.csv: cannot be read"):
        Source(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="cannot be read"):
        Source(tmp_path)


@pytest.mark.parametrize("form", ["plain", "gz", "zip"])
def test_progress_reaches_the_size_of_the_file(tmp_path, form):
    seen = []
    source = Source(write(tmp_path, FORMS[form](TEXT)), lambda done, size: seen.append((done, size)))
    list(source.lines())
    assert seen[-1][0] == pytest.approx(source.size, abs=100)
    assert {size for _, size in seen} == {source.size}
    assert seen == sorted(seen)


def test_errors_name_file_row_and_column(tmp_path):
    source = Source(write(tmp_path, b"x"))
    assert str(source.error(3, "price", "is wrong").detail) == "f.csv, row 3, column price: is wrong"
    assert str(source.error(None, None, "is wrong").detail) == "f.csv: is wrong"
