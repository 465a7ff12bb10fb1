"""D4RL's datasets by name, against a real server on this machine that misbehaves in every way we know."""

import dataclasses
import hashlib
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import SHARED
from reweigh import DatasetError, load
from reweigh.cli import main, make_parser
from reweigh.config import Resample
from reweigh.datasets import d4rl, files
from reweigh.datasets.d4rl import domain_of, fetch
from reweigh.datasets.download import Patience
from reweigh.datasets.files import memory_needed
from reweigh.datasets.scores import catalog, limit_of, reference_of
from reweigh.options.arguments import run_config

NAME = "hopper-medium-v2"
FILE = "gym_mujoco_v2/hopper_medium-v2.hdf5"
SPECIFIED = SHARED / "spec" / "d4rl.json"
QUICK = Patience(stall_s=1.0, waits_s=(0.01, 0.01, 0.01))


@pytest.fixture(scope="session")
def content(tmp_path_factory) -> bytes:
    """A D4RL-layout file with Hopper's sizes, of 40 episodes, large enough to come in many blocks."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("source") / "file.hdf5"
    with h5py.File(path, "w") as file:
        file["observations"] = rng.normal(size=(4000, 11)).astype(np.float32)
        file["next_observations"] = rng.normal(size=(4000, 11)).astype(np.float32)
        file["actions"] = rng.uniform(-1, 1, (4000, 3)).astype(np.float32)
        file["rewards"] = rng.normal(size=4000)  # float64, as in some of D4RL's files
        file["terminals"] = np.arange(4000) % 200 == 99
        file["timeouts"] = np.arange(4000) % 200 == 199
        file["infos/qpos"] = rng.normal(size=(4000, 6))
        file.attrs["total"] = np.int64(4000)
    return path.read_bytes()


class Server:
    """Answers with `behaviors` in turn, the last one for ever, and remembers what it was asked."""

    def __init__(self, content: bytes):
        self.content = content
        self.behaviors = ["whole"]
        self.asked: list[tuple[str, str | None]] = []
        self.tag: str | None = '"one"'
        self.released = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/mirror"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def next_behavior(self) -> str:
        return self.behaviors.pop(0) if len(self.behaviors) > 1 else self.behaviors[0]

    def stop(self) -> None:
        self.released.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    owner: Server

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        owner = self.owner
        owner.asked.append((self.path, self.headers.get("Range")))
        behavior = owner.next_behavior() if self.path.startswith("/mirror/") else "whole"
        if behavior.isdigit():
            self.send_error(int(behavior))
        elif behavior == "elsewhere":
            self.send_response(302)
            self.send_header("Location", self.path.replace("/mirror/", "/other/"))
            self.end_headers()
        elif behavior == "round":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.end_headers()
        elif behavior == "page":
            self._answer(b"<html>Log in to this network</html>", 200)
        elif behavior == "unsized":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(owner.content)
        else:
            self._file(behavior)

    def _file(self, behavior: str) -> None:
        owner, asked = self.owner, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, owner.tag)
        begin, status = 0, 200
        if asked and same and behavior != "no ranges":
            begin, status = int(asked[1]), 206
        if begin >= len(owner.content):
            self.send_error(416)
            return
        whole = owner.content[begin:]
        sent = whole
        if behavior.startswith("cut "):
            sent = whole[: int(behavior.removeprefix("cut "))]
        elif behavior.startswith("stall "):
            sent = whole[: int(behavior.removeprefix("stall "))]
        self._answer(sent, status, len(whole), begin)
        if behavior.startswith("stall "):
            self.wfile.flush()
            owner.released.wait(5)

    def _answer(self, body: bytes, status: int, length: int | None = None, begin: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if self.owner.tag:
            self.send_header("ETag", self.owner.tag)
        if status == 206:
            total = len(self.owner.content)
            self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(content, monkeypatch):
    server = Server(content)
    monkeypatch.setenv("REWEIGH_D4RL", server.url)
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of the test's own, and no way to any other machine."""
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("REWEIGH_D4RL", "http://127.0.0.1:9/nobody")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(d4rl, "Patience", lambda: QUICK)
    return tmp_path / "cache" / "d4rl"


@pytest.fixture
def folder(tmp_path, content, monkeypatch) -> Path:
    """An offline folder that holds the file by D4RL's path."""
    place = tmp_path / "offline"
    (place / FILE).parent.mkdir(parents=True)
    (place / FILE).write_bytes(content)
    monkeypatch.setenv("REWEIGH_D4RL", str(place))
    return place


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def refusal(name: str = NAME) -> str:
    with pytest.raises(DatasetError) as caught:
        fetch(name)
    text = str(caught.value)
    assert "\n" not in text
    assert not (d4rl.cache_folder() / "d4rl" / FILE).exists()
    return text


def assert_same(one, other) -> None:
    """Two `Transitions`, to the bit."""
    for field in dataclasses.fields(one):
        first, second = getattr(one, field.name), getattr(other, field.name)
        if field.name == "episodes":
            assert_same(first, second)
        elif field.name == "info":
            for part in dataclasses.fields(first):
                np.testing.assert_array_equal(getattr(first, part.name), getattr(second, part.name))
        else:
            assert first.dtype == second.dtype
            np.testing.assert_array_equal(first, second)


def test_every_name_of_the_table_resolves_to_a_file_a_limit_two_references_and_a_domain(cache):
    assert len(catalog()) == 148
    for name, entry in catalog().items():
        assert d4rl.entry_of(name) == entry
        assert re.fullmatch(r"[a-z_0-9]+/[A-Za-z_0-9.-]+\.hdf5", entry.file)
        assert limit_of(f"d4rl:{name}", None) == entry.max_episode_steps
        assert reference_of(f"d4rl:{name}", entry.evaluate_in) == (entry.reference_min, entry.reference_max)
        assert entry.reference_min < entry.reference_max
        assert (domain_of(f"d4rl:{name}") is None) == name.startswith("maze2d-")


@pytest.mark.skipif(not SPECIFIED.exists(), reason="the specification of D4RL's datasets is not here")
def test_every_row_of_the_table_is_the_specified_one():
    specified = json.loads(SPECIFIED.read_text())["datasets"]
    assert catalog().keys() == specified.keys()
    for name, row in specified.items():
        entry = catalog()[name]
        assert row["file"].endswith(entry.file)
        for field in ("reference_min", "reference_max", "max_episode_steps", "evaluate_in"):
            assert getattr(entry, field) == row[field], (name, field)


def test_two_names_of_one_file_keep_their_own_limits():
    one, other = catalog()["door-human-v1"], catalog()["door-human-longhorizon-v1"]
    assert one.file == other.file
    assert (limit_of("d4rl:door-human-v1", None), limit_of("d4rl:door-human-longhorizon-v1", None)) == (
        200,
        300,
    )
    shared = catalog()["door-human-v0"].file.rpartition("/")[2]
    assert limit_of(shared, None) is None, "a file of datasets with 200 and 300 steps"


def test_domains_are_those_of_the_published_settings():
    found = [
        domain_of(f"d4rl:{name}-v0") for name in ("ant-x", "antmaze-x", "kitchen-x", "pen-x", "maze2d-x")
    ]
    assert found == ["mujoco", "antmaze", "kitchen", "adroit", None]
    assert domain_of("antmaze-umaze-v2") is None


def test_an_unknown_name_is_refused_with_near_ones():
    assert "Did you mean" in refusal("hopper-medum-v2")
    assert NAME in refusal("hopper-medum-v2")
    assert "Did you mean hopper-" in refusal("hoppr")
    assert "An example is hopper-medium-v2." in refusal("")


def test_a_file_comes_whole_with_its_digest_beside_it_and_is_asked_for_once(server, content, cache):
    path = fetch(NAME)
    assert path == cache / FILE
    assert path.read_bytes() == content
    digest = hashlib.sha256(content).hexdigest()
    assert path.with_name(path.name + ".sha256").read_text() == f"{digest}  {path.name}\n"
    assert fetch(NAME) == path
    assert server.asked == [(f"/mirror/{FILE}", None)]
    assert names(cache) == {FILE, f"{FILE}.sha256", f"{FILE}.lock"}


def test_a_download_that_is_cut_goes_on_from_the_byte_where_it_stopped(server, content, cache):
    server.behaviors = ["cut 70001", "cut 100000", "503", "whole"]
    seen = []
    assert fetch(NAME, report=seen.append).read_bytes() == content
    assert [asked[1] for asked in server.asked] == [None, "bytes=70001-", "bytes=170001-", "bytes=170001-"]
    assert seen[-1].num_bytes == seen[-1].total == len(content)
    troubles = [received.trouble for received in seen if received.trouble]
    assert troubles[0] == f"the connection ended after 70001 of {len(content)} bytes"
    assert troubles[2] == "the answer HTTP 503 Service Unavailable"


def test_another_process_goes_on_with_what_an_earlier_one_left(server, content, cache):
    server.behaviors = ["cut 50000", "500"]
    assert "50000 bytes are kept" in refusal()
    assert (cache / f"{FILE}.part").read_bytes() == content[:50000]
    server.behaviors = ["whole"]
    assert fetch(NAME).read_bytes() == content
    assert server.asked[-1][1] == "bytes=50000-"
    assert names(cache) == {FILE, f"{FILE}.sha256", f"{FILE}.lock"}


@pytest.mark.parametrize("tag", ['"two"', None])
def test_a_part_of_a_file_that_has_changed_on_the_server_is_thrown_away(server, content, cache, tag):
    server.behaviors = ["cut 50000", "500"]
    server.tag = '"one"' if tag else None
    refusal()
    server.tag, server.behaviors = tag, ["whole"]
    with h5py.File(cache / "other.hdf5", "w") as file:
        for name in ("observations", "actions", "rewards", "terminals"):
            file[name] = np.zeros(3000)
    server.content = (cache / "other.hdf5").read_bytes()
    assert fetch(NAME).read_bytes() == server.content


def test_a_server_without_ranges_sends_all_of_it_again(server, content):
    server.behaviors = ["cut 50000", "no ranges"]
    assert fetch(NAME).read_bytes() == content


def test_a_part_that_is_whole_is_not_asked_for_again(server, content, cache):
    server.behaviors = ["cut 50000", "500"]
    refusal()
    (cache / f"{FILE}.part").write_bytes(content)
    asked = len(server.asked)
    assert fetch(NAME).read_bytes() == content
    assert len(server.asked) == asked


def test_a_part_longer_than_the_file_is_thrown_away(server, content, cache):
    server.behaviors = ["cut 50000", "500"]
    refusal()
    (cache / f"{FILE}.part").write_bytes(content + b"more")
    server.behaviors = ["whole"]
    assert fetch(NAME).read_bytes() == content


def test_a_part_without_its_note_is_not_gone_on_with(server, content, cache):
    (cache / FILE).parent.mkdir(parents=True)
    (cache / f"{FILE}.part").write_bytes(b"anything")
    assert fetch(NAME).read_bytes() == content
    assert server.asked == [(f"/mirror/{FILE}", None)]


def test_a_server_that_stalls_is_given_up_and_tried_again(server, content):
    server.behaviors = ["stall 30000", "whole"]
    seen = []
    assert fetch(NAME, report=seen.append).read_bytes() == content
    assert [r.trouble for r in seen if r.trouble] == ["no byte came for 1 s"]


def test_a_server_that_always_stalls_is_an_error(server):
    server.behaviors = ["stall 0"]
    assert "but no byte came for 1 s (4 tries)" in refusal()


def test_redirects_are_followed_with_the_range(server, content):
    server.behaviors = ["cut 50000", "elsewhere"]
    assert fetch(NAME).read_bytes() == content
    assert server.asked[-1] == (f"/other/{FILE}", "bytes=50000-")


def test_redirects_in_a_circle_are_an_error(server):
    server.behaviors = ["round"]
    assert "HTTP 302" in refusal()


def test_a_file_of_unsaid_length_comes_too(server, content):
    server.behaviors = ["unsized"]
    assert fetch(NAME).read_bytes() == content


def test_a_refused_connection_is_an_error_that_says_what_to_do(cache, monkeypatch):
    with socket.socket() as bound:  # held, so that no other process takes the port; it never listens
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        monkeypatch.setenv("REWEIGH_D4RL", f"http://127.0.0.1:{port}")
        text = refusal()
    assert (
        f"expected hopper_medium-v2.hdf5 from http://127.0.0.1:{port}/{FILE}, but Connection refused" in text
    )
    assert f"put the file at {cache / FILE}" in text
    assert "set REWEIGH_D4RL to a mirror" in text


def test_a_file_that_is_not_there_is_asked_for_once(server):
    server.behaviors = ["404"]
    assert "but found the answer HTTP 404 Not Found" in refusal()
    assert len(server.asked) == 1


def test_a_server_that_fails_is_asked_four_times(server):
    server.behaviors = ["500"]
    assert "HTTP 500 Internal Server Error (4 tries)" in refusal()
    assert len(server.asked) == 4


@pytest.mark.parametrize("behavior", ["page", "truncated", "other arrays"])
def test_what_is_no_dataset_is_refused_and_leaves_nothing(server, content, cache, behavior):
    if behavior == "page":
        server.behaviors, words = ["page"], "it begins with b'<html>Log in to '"
    elif behavior == "truncated":
        server.content, words = content[:-5000], "not a complete HDF5 file"
    else:
        cache.mkdir(parents=True)
        with h5py.File(cache / "other.hdf5", "w") as file:
            file["observations"] = file["actions"] = np.zeros(3)
        server.content = (cache / "other.hdf5").read_bytes()
        (cache / "other.hdf5").unlink()
        words = "what came has no 'rewards' and no 'terminals'"
    assert words in refusal()
    assert names(cache) == {f"{FILE}.lock"}


def test_a_full_disk_is_said_before_anything_is_written(server, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    text = refusal()
    assert f"expected {len(server.content)} bytes of free disk" in text
    assert len(server.asked) == 1


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path, monkeypatch, server):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "file"))
    with pytest.raises(DatasetError, match="Set REWEIGH_CACHE to a writable folder"):
        fetch(NAME)


@pytest.mark.parametrize("prefix", ["http://", "http://[", "https://a b/"])
def test_a_mirror_that_is_no_url_is_an_error(monkeypatch, prefix):
    monkeypatch.setenv("REWEIGH_D4RL", prefix)
    assert "expected" in refusal()


def test_a_killed_download_leaves_a_part_that_the_next_one_finishes(server, content, cache):
    server.behaviors = ["stall 60000"]
    code = f"from reweigh.datasets.d4rl import fetch; fetch({NAME!r}, report=lambda r: print(flush=True))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    assert names(cache) == {f"{FILE}.part", f"{FILE}.part.json", f"{FILE}.lock"}
    kept = (cache / f"{FILE}.part").stat().st_size
    assert kept > 0
    server.behaviors = ["whole"]
    assert fetch(NAME).read_bytes() == content
    assert server.asked[-1][1] == f"bytes={kept}-"


def test_two_downloads_at_once_ask_the_server_once(server, content):
    found = []
    threads = [threading.Thread(target=lambda: found.append(fetch(NAME))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() == content for path in found] == [True] * 3
    assert len(server.asked) == 1


@pytest.mark.parametrize("place", [FILE, "hopper_medium-v2.hdf5", f"{NAME}.hdf5"])
def test_an_offline_folder_gives_its_files_and_is_not_written_in(tmp_path, content, monkeypatch, place):
    folder = tmp_path / "offline"
    (folder / place).parent.mkdir(parents=True)
    (folder / place).write_bytes(content)
    monkeypatch.setenv("REWEIGH_D4RL", str(folder))
    assert fetch(NAME) == folder / place
    load(f"d4rl:{NAME}")
    assert names(folder) == {place}


def test_an_offline_folder_without_the_file_is_an_error(folder, monkeypatch):
    with pytest.raises(DatasetError, match=r"expected gym_mujoco_v2/hopper_random-v2.hdf5 .* there is none"):
        load("d4rl:hopper-random-v2")
    monkeypatch.setenv("REWEIGH_D4RL", "ftp://somewhere")
    with pytest.raises(DatasetError, match="or a folder, but found 'ftp://somewhere'"):
        load(f"d4rl:{NAME}")


def test_a_named_dataset_is_its_file_with_an_environment(folder):
    named, file = load(f"d4rl:{NAME}"), load(folder / FILE, env="Hopper-v4")
    assert (named.info.spec, named.info.env) == (f"d4rl:{NAME}", "Hopper-v4")
    spec = named.info.spec
    assert_same(named, dataclasses.replace(file, info=dataclasses.replace(file.info, spec=spec)))


def test_the_second_load_is_identical_and_does_not_read_the_source(folder, cache, monkeypatch):
    first = load(f"d4rl:{NAME}")
    monkeypatch.setattr(d4rl, "read_hdf5", None)
    monkeypatch.setattr(d4rl, "file_digest", None)
    assert_same(first, load(f"d4rl:{NAME}"))
    assert sum(1 for path in (cache / "decoded").iterdir() if path.is_dir()) == 1


def test_a_changed_offline_file_is_decoded_anew_in_place_of_the_old(folder, cache):
    before = load(f"d4rl:{NAME}")
    with h5py.File(folder / FILE, "r+") as file:
        file["rewards"][0] = 100.0
    os.utime(folder / FILE, ns=(1, 1))
    after = load(f"d4rl:{NAME}")
    assert (before.reward[0], after.reward[0]) == (before.raw_reward[0], 100)
    assert before.info.digest != after.info.digest
    assert sum(1 for path in (cache / "decoded").iterdir() if path.is_dir()) == 1


def test_a_changed_download_is_refused_with_both_digests_until_its_record_is_removed(server, content, cache):
    before = load(f"d4rl:{NAME}")
    path = cache / FILE
    with h5py.File(path, "r+") as file:
        file["rewards"][0] = 100.0
    os.utime(path, ns=(1, 1))
    with pytest.raises(DatasetError) as caught:
        load(f"d4rl:{NAME}")
    for digest in (hashlib.sha256(content).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest()):
        assert digest in str(caught.value)
    path.with_name(path.name + ".sha256").unlink()
    assert load(f"d4rl:{NAME}").reward[0] == 100
    path.unlink()
    with pytest.raises(DatasetError, match="SHA-256"):  # the record now holds the changed file's
        load(f"d4rl:{NAME}")
    path.with_name(path.name + ".sha256").unlink()
    assert_same(before, load(f"d4rl:{NAME}"))


def test_a_file_put_into_the_cache_by_hand_is_used_and_recorded(content, cache):
    (cache / FILE).parent.mkdir(parents=True)
    (cache / FILE).write_bytes(content)
    load(f"d4rl:{NAME}")
    assert (cache / f"{FILE}.sha256").read_text().startswith(hashlib.sha256(content).hexdigest())


def test_a_file_that_cannot_be_read_is_not_recorded(content, cache):
    (cache / FILE).parent.mkdir(parents=True)
    (cache / FILE).write_bytes(content[:-5000])
    with pytest.raises(DatasetError, match="expected a complete HDF5 file"):
        load(f"d4rl:{NAME}")
    assert names(cache) == {FILE}


@pytest.mark.parametrize("damage", ["cut", "gone", "other type", "no meta", "bad meta"])
def test_a_damaged_decoded_cache_is_written_again(folder, cache, damage):
    first = load(f"d4rl:{NAME}")
    place = next(path for path in (cache / "decoded").iterdir() if path.is_dir())
    if damage == "cut":
        (place / "observation.npy").write_bytes((place / "observation.npy").read_bytes()[:-4])
    elif damage == "gone":
        (place / "reward.npy").unlink()
    elif damage == "other type":
        np.save(place / "reward.npy", np.zeros(4000))
    elif damage == "no meta":
        (place / "meta.json").unlink()
    else:
        (place / "meta.json").write_text("[]")
    assert_same(first, load(f"d4rl:{NAME}"))
    meta = json.loads((place / "meta.json").read_text())
    assert meta["sha256"] == hashlib.sha256((folder / FILE).read_bytes()).hexdigest()
    assert np.load(place / "reward.npy").dtype == np.float32


def test_a_decoded_cache_that_cannot_be_written_costs_nothing_but_time(folder, tmp_path, monkeypatch):
    first = load(f"d4rl:{NAME}")
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "file"))
    assert_same(first, load(f"d4rl:{NAME}"))


def test_what_a_killed_decoding_left_is_removed_by_the_next(folder, cache):
    left = cache / "decoded" / ".gym_mujoco_v2-hopper_medium-v2.part"
    left.mkdir(parents=True)
    (left / "observation.npy").write_bytes(b"half")
    load(f"d4rl:{NAME}")
    assert not left.exists()


def test_a_dataset_larger_than_memory_is_refused_in_one_line(folder, monkeypatch):
    monkeypatch.setattr(files, "available_memory", lambda: 100_000)
    with pytest.raises(DatasetError, match=r"GB of free memory to load .* but 0.0001 GB are free") as caught:
        load(f"d4rl:{NAME}")
    assert "\n" not in str(caught.value)


def test_the_memory_estimate_counts_arrays_as_stored_and_as_transitions():
    shapes = {
        "observations": ((10, 3), np.dtype(np.float64)),
        "actions": ((10, 2), np.dtype(np.float32)),
        "rewards": ((10,), np.dtype(np.float32)),
        "terminals": ((10,), np.dtype(bool)),
    }
    # observations 120 as float32, 240 as s and s'; actions 80 and three times more; 40 + 880; 10.
    assert memory_needed(shapes) == (120 + 240) + (80 + 240) + (40 + 880) + 10


def test_the_command_line_says_how_far_a_download_is_and_fails_in_one_line(server, capsys):
    server.behaviors = ["404"]
    assert main(["inspect", f"d4rl:{NAME}"]) == 1
    found = capsys.readouterr()
    assert found.err.count("\n") == 1
    assert found.err.startswith("reweigh inspect: expected hopper_medium-v2.hdf5 at http")
    server.behaviors = ["whole"]
    assert main(["inspect", f"d4rl:{NAME}"]) == 0
    found = capsys.readouterr()
    assert found.err.splitlines()[-1] == "downloading hopper_medium-v2.hdf5: 0.6 of 0.6 MB"
    assert re.search(r"normalized return +mean \d", found.out)
    assert main(["inspect", "d4rl:hoper-medium-v2"]) == 1
    assert "Did you mean" in capsys.readouterr().err


def test_train_takes_the_settings_of_the_datasets_domain_unless_told_otherwise(folder):
    antmaze = catalog()["antmaze-umaze-v2"].file
    (folder / antmaze).parent.mkdir()
    (folder / FILE).rename(folder / antmaze)

    def config(*argv: str):
        line = ["train", "d4rl:antmaze-umaze-v2", "--algorithm", "iql", "--no-evaluate", *argv]
        return run_config(make_parser().parse_args(line))

    found = config("--weights", "oper-r")
    assert (found.reward, found.algorithm.expectile, found.algorithm.inverse_temperature) == (
        "minus-one",
        0.9,
        10,
    )
    assert isinstance(found.rebalance, Resample)
    assert found.rebalance.weights.base == 0.2
    assert config("--preset", "none").reward == "none"
    assert config("--preset", "kitchen").algorithm.inverse_temperature == 0.5
    assert config("--set", "reward=none").reward == "none"


def test_train_says_whose_settings_it_took(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("reweigh.commands.launch.run_jobs", lambda jobs, saved, quiet: True)
    argv = ["train", f"d4rl:{NAME}", "--algorithm", "bc", "--no-evaluate", "--out", str(tmp_path / "run")]
    assert main(argv) == 130
    assert "Settings of D4RL's domain mujoco (--preset none leaves them out)." in capsys.readouterr().err


PAIRS = {
    "hopper": (-20.272305, 3234.3), "halfcheetah": (-280.178953, 12135.0), "walker2d": (1.629008, 4592.3),
    "ant": (-325.6, 3879.7), "pen": (96.262799, 3076.8331017826877), "door": (-56.512833, 2880.5693087298737),
    "hammer": (-274.856578, 12794.134825156867), "relocate": (-6.425911, 4233.877797728884),
    "antmaze": (0.0, 1.0), "kitchen": (0.0, 4.0),
}  # fmt: skip


def test_references_limits_and_files_are_those_of_d4rls_own_tables():
    entries = catalog().values()
    for family, pair in PAIRS.items():
        assert {(e.reference_min, e.reference_max) for e in entries if e.family == family} == {pair}, family
    for name, expected in {
        "maze2d-umaze-v1": (23.85, 161.86, 300), "maze2d-medium-v1": (13.13, 277.39, 600),
        "maze2d-large-v1": (6.7, 273.99, 800), "antmaze-umaze-v0": (0.0, 1.0, 700),
        "antmaze-large-play-v0": (0.0, 1.0, 1000), "kitchen-mixed-v0": (0.0, 4.0, 280),
        "pen-human-v1": (96.262799, 3076.8331017826877, 100),
    }.items():  # fmt: skip
        entry = catalog()[name]
        assert (entry.reference_min, entry.reference_max, entry.max_episode_steps) == expected, name
    second = [e for e in entries if e.name.endswith("-v2") and e.family != "antmaze"]
    assert len(second) == 24
    for e in second:
        stem = e.name.removesuffix("-v2").replace("-", "_")
        assert e.file == f"gym_mujoco_v2/{stem}-v2.hdf5"
