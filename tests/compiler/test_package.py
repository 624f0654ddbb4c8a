# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Packages: round trips, and files that are damaged or hostile."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m3vit_pynq import package as package_module
from m3vit_pynq.abi.boards import get_board
from m3vit_pynq.abi.isa import Instruction, Opcode, TaskKind
from m3vit_pynq.errors import CapacityError, PackageError
from m3vit_pynq.package import Package
from m3vit_pynq.package import container as container_module
from m3vit_pynq.reference.machine import Machine


@pytest.fixture(scope="module")
def saved(micro, tmp_path_factory):
    return micro.package.save(tmp_path_factory.mktemp("package") / "micro.m3vit")


def entries(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, target, changed):
    """The package at `path` with some entries replaced (None: removed)."""
    content = {**entries(path), **changed}
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)
    return target


def npy(array, pickled=False):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=pickled)
    return stream.getvalue()


def manifest_of(path):
    return json.loads(np.load(io.BytesIO(entries(path)["manifest.npy"])).tobytes())


def with_manifest(path, target, change):
    manifest = manifest_of(path)
    change(manifest)
    text = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
    return rewrite(path, target, {"manifest.npy": npy(text)})


def test_round_trip(micro, saved):
    loaded = Package.load(saved)
    assert loaded.config == micro.config
    assert loaded.program == micro.package.program
    assert np.array_equal(loaded.weights, micro.package.weights)
    assert loaded.metadata == micro.package.metadata
    assert loaded.requirements == micro.package.requirements


def test_the_same_package_gives_the_same_bytes(saved, tmp_path):
    again = Package.load(saved).save(tmp_path / "again.m3vit")
    assert again.read_bytes() == saved.read_bytes()


def test_tasks(micro):
    depth = micro.package.task("depth")
    assert (depth.index, depth.kind, depth.dtype) == (1, TaskKind.DEPTH, np.dtype("<u2"))
    # micro: a 4x6 grid, one convolution (x2), output_upsample 2
    assert depth.output_shape == (16, 24)
    assert depth.output_bytes == 16 * 24 * 2
    assert micro.package.task("segmentation").label_set == "nyud13"
    with pytest.raises(ValueError, match="segmentation, depth"):
        micro.package.task("normals")


def test_a_failed_save_leaves_the_old_file(micro, saved, tmp_path, monkeypatch):
    target = tmp_path / "kept.m3vit"
    micro.package.save(target)
    before = target.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(container_module.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        micro.package.save(target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_missing_file_lists_shipped_names(tmp_path, monkeypatch):
    monkeypatch.setattr(package_module, "weights_directory", lambda: tmp_path)
    with pytest.raises(PackageError, match="shipped packages: none"):
        Package.load(tmp_path / "nothing.m3vit")


def test_shipped_packages_load_by_name(micro, tmp_path, monkeypatch):
    monkeypatch.setattr(package_module, "weights_directory", lambda: tmp_path)
    micro.package.save(tmp_path / "mine.m3vit")
    assert package_module.shipped() == ("mine",)
    assert Package.load("mine").config == micro.config


def test_every_truncation_is_refused(saved, tmp_path):
    data = saved.read_bytes()
    target = tmp_path / "cut.m3vit"
    for size in [*range(0, len(data), len(data) // 60), len(data) - 1]:
        target.write_bytes(data[:size])
        with pytest.raises(PackageError):
            Package.load(target)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_flipped_bytes_never_change_a_package(saved, tmp_path, data):
    """A flip either is refused or hits something that is no content (a zip time stamp)."""
    content = bytearray(saved.read_bytes())
    tail = len(content) - 400  # the directory is where parsers are fragile
    position = data.draw(
        st.one_of(st.integers(0, len(content) - 1), st.integers(tail, len(content) - 1))
    )
    content[position] ^= data.draw(st.integers(1, 255))
    target = tmp_path / "flipped.m3vit"
    target.write_bytes(bytes(content))
    original = Package.load(saved)
    try:
        loaded = Package.load(target)
    except PackageError:
        return
    assert loaded.program == original.program
    assert np.array_equal(loaded.weights, original.weights)
    assert loaded.metadata == original.metadata


def test_pickles_are_refused(saved, tmp_path):
    objects = np.array([{"a": 1}], dtype=object)
    for data in (npy(objects, pickled=True), pickle.dumps([1, 2, 3])):
        target = rewrite(saved, tmp_path / "pickle.m3vit", {"weights.npy": data})
        with pytest.raises(PackageError, match="weights"):
            Package.load(target)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("weights", np.zeros((4, 16), np.int8), "int8"),
        ("weights", np.zeros((3, 16), np.uint8), "weights"),
        ("weights", np.zeros(64, np.uint8), "shape"),
        ("weights", np.asfortranarray(np.zeros((4, 16), np.uint8)), "shape"),
        ("program", np.zeros(100, np.float32), "float32"),
        ("program", np.zeros((10, 10), np.uint8), "shape"),
        ("manifest", np.zeros(4, np.int64), "int64"),
    ],
)
def test_wrong_arrays_are_named(saved, tmp_path, name, array, message):
    target = rewrite(saved, tmp_path / "wrong.m3vit", {f"{name}.npy": npy(array)})
    with pytest.raises(PackageError, match=message) as caught:
        Package.load(target)
    assert caught.value.field == name


def test_missing_and_additional_entries(saved, tmp_path):
    for change in ({"weights.npy": None}, {"more.npy": b"x"}):
        with pytest.raises(PackageError, match="holds"):
            Package.load(rewrite(saved, tmp_path / "entries.m3vit", change))


def test_a_zip_bomb_is_not_unpacked(saved, tmp_path, monkeypatch):
    monkeypatch.setitem(package_module.SIZE_LIMITS, "weights", 1 << 16)
    target = tmp_path / "bomb.m3vit"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries(saved).items():
            archive.writestr(name, data if name != "weights.npy" else bytes(1 << 24))
    assert target.stat().st_size < 1 << 18
    with pytest.raises(PackageError, match="limit is 65536"):
        Package.load(target)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100000, b'{"format": NaN}', b"null"]
)
def test_json_garbage(saved, tmp_path, text):
    changed = {"manifest.npy": npy(np.frombuffer(text, np.uint8))}
    with pytest.raises(PackageError, match="JSON") as caught:
        Package.load(rewrite(saved, tmp_path / "json.m3vit", changed))
    assert caught.value.field == "manifest"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda m: m.update(format=99), "format"),
        (lambda m: m.update(abi=7), "abi"),
        (lambda m: m.pop("abi"), "abi"),
        (lambda m: m.update(abi="1"), "abi"),
        (lambda m: m.update(metadata=[]), "metadata"),
        (lambda m: m["sha256"].update(program="0" * 64), "program"),
        (lambda m: m["sha256"].pop("weights"), "weights"),
        (lambda m: m["config"].pop("heads"), "config"),
        (lambda m: m["config"].update(heads="2"), "config"),
        (lambda m: m["config"].update(patch_size=0), "config"),
        (lambda m: m["config"]["tasks"][0].update(kind="poetry"), "config"),
        (lambda m: m["config"]["tasks"][1].update(name="segmentation"), "config"),
        (lambda m: m["config"].update(image_size=[64, 96]), "program"),
        (lambda m: m["config"]["head"].update(output_upsample=4), "program"),
        (lambda m: m["config"].update(tasks=m["config"]["tasks"][:1]), "program"),
        (lambda m: m["metadata"].update(layers=["a"]), "metadata.layers"),
    ],
)  # fmt: skip
def test_inconsistent_manifests_name_the_field(saved, tmp_path, change, field):
    target = with_manifest(saved, tmp_path / "manifest.m3vit", change)
    with pytest.raises(PackageError) as caught:
        Package.load(target)
    assert caught.value.field == field


def test_a_package_of_abi_1_says_what_to_do(saved, tmp_path):
    """Whatever else is in it, for ABI 1 had other operands and another header."""
    old = with_manifest(saved, tmp_path / "old.m3vit", lambda m: m.update(format=1, abi=1))
    other = {"program.npy": npy(np.zeros(500, np.uint8)), "weights.npy": npy(np.zeros((4, 16)))}
    for file in (old, rewrite(old, tmp_path / "older.m3vit", other)):
        with pytest.raises(PackageError, match="compiled for ABI 1") as caught:
            Package.load(file)
        assert caught.value.field == "abi"
        for advice in ("compile it again", "`m3vit-pynq convert`", "`m3vit-pynq export`", "0.1"):
            assert advice in str(caught.value)


def test_program_and_weights_must_belong_together(micro):
    package = micro.package
    for weights in (package.weights[:, :-64], package.weights[:, :24]):
        with pytest.raises(PackageError, match=r"weights|program"):
            Package(package.config, package.program, np.ascontiguousarray(weights))
    damaged = bytearray(package.program)
    damaged[400] = 0xEE
    with pytest.raises(PackageError, match="does not decode"):
        Package(package.config, bytes(damaged), package.weights)


def changed_program(package, wanted, **operands):
    """The program with other operands in the first instruction that is `wanted`, and its index."""
    program = package.decoded
    index = next(i for i, x in enumerate(program.instructions) if wanted(x))
    old = program.instructions[index]
    new = Instruction(old.opcode, **{**old.operands, **operands})
    instructions = (*program.instructions[:index], new, *program.instructions[index + 1 :])
    return dataclasses.replace(program, instructions=instructions), index


def is_opcode(opcode):
    return lambda i: i.opcode == opcode


@pytest.mark.parametrize(
    ("opcode", "operands", "code"),
    [
        (Opcode.LOAD_PATCHES, {"patch": 0}, "SHAPE"),
        (Opcode.LAYERNORM, {"shift_a": 0}, "SHAPE"),
        (Opcode.LINEAR, {"weight_bits": 4}, "SHAPE"),
        (Opcode.ATTENTION, {"passes": 3}, "SHAPE"),
        (Opcode.LINEAR, {"src": 1}, "READ_RANGE"),
        (Opcode.ATTENTION, {"k_offset": 60000}, "READ_RANGE"),
        (Opcode.EXPERTS_UP, {"records": 1 << 31}, "READ_RANGE"),
        (Opcode.LOAD_PATCHES, {"height": 64}, "FRAME_RANGE"),
        (Opcode.LOAD_RESIDUAL, {"dst": 0}, "WRITE_RANGE"),
        (Opcode.EXPERTS_DOWN, {"dst": 1 << 30}, "WRITE_RANGE"),
        (Opcode.LINEAR, {"weights": 1 << 24}, "WEIGHTS_RANGE"),
        (Opcode.EXPERTS_UP, {"expert_lines": 1 << 31}, "WEIGHTS_RANGE"),
        (Opcode.LOAD_RESIDUAL, {"table": 0}, "WEIGHTS_RANGE"),
        (Opcode.EXPERTS_DOWN, {"first_slot": 1}, "SLOTS"),
    ],
)
def test_what_the_accelerator_would_refuse_does_not_load(micro, opcode, operands, code):
    changed, index = changed_program(micro.package, is_opcode(opcode), **operands)
    message = rf"task segmentation, instruction {index} \({opcode.name}\): {code}, "
    with pytest.raises(PackageError, match=message):
        Package(micro.config, changed.encode(), micro.package.weights)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_loads_also_runs(micro, data):
    """Any operand of any instruction, changed: refused by the package or by nobody."""
    program = micro.package.decoded
    index = data.draw(st.integers(0, len(program.instructions) - 1))
    old = program.instructions[index]
    name = data.draw(st.sampled_from(sorted(old.operands) or ["none"]))
    if name == "none":
        return
    step = data.draw(st.sampled_from([-1000, -64, -2, -1, 1, 2, 64, 1000]))
    try:
        new = Instruction(old.opcode, **{**old.operands, name: old.operands[name] + step})
    except ValueError:
        return
    instructions = (*program.instructions[:index], new, *program.instructions[index + 1 :])
    changed = dataclasses.replace(program, instructions=instructions)
    try:
        package = Package(micro.config, changed.encode(), micro.package.weights)
    except PackageError:
        return
    machine = Machine()
    machine.load(package.program, package.weights)
    for task in (0, 1):
        machine.run(task, micro.frames[0])


def test_overlaps_and_slots_that_are_not_added_do_not_load(micro):
    package = micro.package
    norm = next(i for i in package.decoded.instructions if i.slots)
    changed, index = changed_program(package, lambda i: i.slots, dst=norm.slot_base)
    with pytest.raises(PackageError, match=rf"instruction {index} \(LAYERNORM\): OVERLAP"):
        Package(micro.config, changed.encode(), package.weights)
    for wrong in ({"slots": 0}, {"slots": 3}, {"rows": 24}, {"slot_base": norm.slot_base + 1}):
        changed, index = changed_program(package, lambda i: i.slots, **wrong)
        with pytest.raises(PackageError, match=rf"instruction {index} \(LAYERNORM\)"):
            Package(micro.config, changed.encode(), package.weights)


def test_the_result_has_the_size_that_the_configuration_says(micro):
    changed, _ = changed_program(micro.package, is_opcode(Opcode.OUTPUT_CLASSES), factor=4)
    with pytest.raises(PackageError, match="config gives one of 16x24"):
        Package(micro.config, changed.encode(), micro.package.weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workspace_lines": 1 << 31}, r"wants a workspace of \d+ bytes"),
        ({"workspace_line": 9000}, "sections do not follow"),
        ({"workspace_lines": 1}, "_RANGE"),
        ({"weights_line": 1}, "does not decode: program: the sections"),
        ({"part_lines": 1}, "bytes of weights a part"),
    ],
)
def test_sections_are_checked(micro, change, message):
    program = micro.package.decoded
    layout = dataclasses.replace(program.layout, **change)
    changed = dataclasses.replace(program, layout=layout)
    with pytest.raises(PackageError, match=message):
        Package(micro.config, changed.encode(), micro.package.weights)


def test_the_bank_image_is_what_the_accelerator_expects(micro):
    package, image = micro.package, micro.package.bank_image()
    machine = Machine()
    machine.load(package.program, package.weights)
    assert machine.bank.nbytes == package.bank_bytes
    assert np.array_equal(machine.bank[: image.nbytes], image)
    assert image.nbytes == 64 * package.layout.workspace_line


def test_check_fits_names_the_number(micro):
    package = micro.package
    package.check_fits(get_board("pynq-z2"))
    package.check_fits({"half_lines": package.requirements["half_lines"]})
    package.check_fits({**package.requirements, "tokens": 4000})
    small = {"half_lines": 10_000, "tokens": package.requirements["tokens"] - 1}
    with pytest.raises(CapacityError) as caught:
        package.check_fits(small)
    assert caught.value.resource == "tokens"
    assert caught.value.needed == package.requirements["tokens"]
    assert str(small["tokens"]) in str(caught.value)
    board = dataclasses.replace(get_board("pynq-z2"), max_tokens=24)
    with pytest.raises(CapacityError, match="micro on PYNQ-Z2: needs tokens = 25, only 24"):
        package.check_fits(board)
