"""Writers of small vendor files from what their makers document, and of the folders of spike sorters.

Nothing here is ours and nothing is Neo's: layouts are those of the Plexon SDK (plexon.h), Blackrock's "File
Format Specification 2.2", Neuralynx' "Data File Formats", NeuroExplorer's NexFileData, CED's "SON filing system",
Axona's "DacqUSB file formats", TDT's description of the TSQ index, and the wiki of Open Ephys. A truth is a dict:
rate_hz, units (id to ticks), trials (start, stop, condition), observed.
"""

from __future__ import annotations

import json
import struct
import zipfile

import numpy as np

PLX_HEADER = np.dtype([
    ("magic", "<u4"), ("version", "<i4"), ("comment", "S128"), ("ad_hz", "<i4"), ("n_dsp", "<i4"), ("n_event", "<i4"),
    ("n_slow", "<i4"), ("n_points", "<i4"), ("n_pre", "<i4"), ("date", "<i4", 6), ("fast_read", "<i4"),
    ("waveform_hz", "<i4"), ("last", "<f8"), ("trodal", "u1", 2), ("bits", "u1", 2), ("max_mv", "<u2", 2),
    ("gain", "<u2"), ("software", "S18", 2), ("pad", "S10"), ("counts", "<i4", 1812),
])  # fmt: skip
PLX_DSP = np.dtype([
    ("name", "S32"), ("sig_name", "S32"), ("channel", "<i4"), ("rate", "<i4"), ("sig", "<i4", 2), ("gain", "<i4"),
    ("filter", "<i4", 3), ("n_units", "<i4"), ("rest", "u1", 920),
])  # fmt: skip
PLX_EVENT = np.dtype([("name", "S32"), ("channel", "<i4"), ("rest", "u1", 260)])
PLX_BLOCK = np.dtype([
    ("type", "<u2"), ("upper", "<u2"), ("time", "<u4"), ("channel", "<u2"), ("unit", "<u2"), ("n_wave", "<u2"),
    ("n_words", "<u2"),
])  # fmt: skip
NEX_VARIABLE = np.dtype([
    ("type", "<i4"), ("version", "<i4"), ("name", "S64"), ("offset", "<u4"), ("n", "<i4"), ("wire", "<i4", 4),
    ("place", "<f8", 2), ("rate", "<f8"), ("to_mv", "<f8"), ("n_points", "<i4"), ("n_markers", "<i4"),
    ("marker_length", "<i4"), ("mv_offset", "<f8"), ("pre", "<f8"), ("pad", "S52"),
])  # fmt: skip
NEV_SPIKE = np.dtype([("time", "<u4"), ("id", "<u2"), ("unit", "u1"), ("reserved", "u1"), ("wave", "<i2", 48)])
NEV_DIGITAL = np.dtype([("time", "<u4"), ("id", "<u2"), ("reason", "u1"), ("reserved", "u1"), ("value", "<u2"),
                        ("rest", "u1", 94)])  # fmt: skip
NLX_SPIKE = np.dtype([("time", "<u8"), ("channel", "<u4"), ("unit", "<u4"), ("features", "<i4", 8),
                      ("wave", "<i2", 32)])  # fmt: skip
NLX_EVENT = np.dtype([
    ("reserved", "<i2", 3), ("time", "<u8"), ("id", "<i2"), ("ttl", "<i2"), ("rest", "<i2", 3), ("extra", "<i4", 8),
    ("text", "S128"),
])  # fmt: skip
OE_SPIKE = np.dtype([
    ("kind", "u1"), ("time", "<i8"), ("software_time", "<i8"), ("source", "<u2"), ("n_channels", "<u2"),
    ("n_samples", "<u2"), ("unit", "<u2"), ("electrode", "<u2"), ("channel", "<u2"), ("color", "u1", 3),
    ("pca", "<f4", 2), ("rate", "<u2"), ("wave", "<u2", 40), ("gain", "<f4"), ("threshold", "<u2"),
    ("recording", "<u2"),
])  # fmt: skip


TSQ = np.dtype([
    ("size", "<i4"), ("kind", "<i4"), ("mark", "S4"), ("channel", "<u2"), ("unit", "<u2"), ("time", "<f8"),
    ("offset", "<i8"), ("format", "<i4"), ("rate", "<f4"),
])  # fmt: skip


def flat(truth):
    """Give ticks and unit positions of all spikes in the order of time."""
    ticks = np.concatenate([np.asarray(values, dtype=np.int64) for values in truth["units"].values()])
    position = np.repeat(np.arange(len(truth["units"])), [len(values) for values in truth["units"].values()])
    order = np.argsort(ticks, kind="stable")
    return ticks[order], position[order]


def record(dtype, **values):
    """Give one record; what is not named is zero."""
    row = np.zeros(1, dtype=dtype)
    for name, value in values.items():
        row[name] = value
    return row.tobytes()


def write_trials_csv(folder, truth):
    """Write the trials in samples."""
    lines = [f"{k},{start},{stop},{condition}" for k, (start, stop, condition) in enumerate(truth["trials"])]
    path = folder / "trials.csv"
    path.write_text("trial,start_samples,stop_samples,condition\n" + "\n".join(lines) + "\n")
    return path


def write_phy(folder, truth):
    """Write what Kilosort writes and Phy adds: column vectors, a script with the rate, two tables of labels."""
    path = folder / "phy"
    path.mkdir()
    ids = np.array(list(truth["units"]))
    ticks, position = flat(truth)
    np.save(path / "spike_times.npy", ticks.astype(np.uint64)[:, None])
    np.save(path / "spike_clusters.npy", ids[position].astype(np.int32))
    (path / "params.py").write_text(
        f"dat_path = 'x.dat'\nn_channels_dat = 4\ndtype = 'int16'\noffset = 0\nsample_rate = {truth['rate_hz']:.1f}\n"
        "hp_filtered = False\n"
    )
    (path / "cluster_group.tsv").write_text("cluster_id\tgroup\n" + "".join(f"{unit}\tgood\n" for unit in ids))
    (path / "cluster_KSLabel.tsv").write_text("cluster_id\tKSLabel\n" + "".join(f"{unit}\tmua\n" for unit in ids))
    return path


def write_alf(folder, truth):
    """Write an ALF folder: seconds, cluster numbers, metrics with one row a cluster, intervals."""
    path = folder / "alf_like"
    path.mkdir()
    ids, rate = np.array(list(truth["units"])), truth["rate_hz"]
    ticks, position = flat(truth)
    np.save(path / "spikes.times.npy", ticks / rate)
    np.save(path / "spikes.clusters.npy", ids[position].astype(np.uint32))
    n_clusters = int(ids.max()) + 1
    rows = "".join(f"{k},{k},{1.0 if k in ids else 0.0}\n" for k in range(n_clusters))
    (path / "clusters.metrics.csv").write_text(",cluster_id,label\n" + rows)
    (path / "clusters.uuids.csv").write_text("uuids\n" + "".join(f"uuid-{k}\n" for k in range(n_clusters)))
    np.save(path / "clusters.depths.npy", np.arange(n_clusters) * 20.0)
    edges = np.array([[start, stop] for start, stop, _ in truth["trials"]]) / rate
    np.save(path / "_ibl_trials.intervals.npy", edges)
    np.save(path / "_ibl_trials.condition.npy", np.array([condition for *_, condition in truth["trials"]]))
    return path


def write_pynapple(folder, truth):
    """Write a TsGroup and an IntervalSet as pynapple 0.6 and later save them, without the pickled metadata."""
    ticks, position = flat(truth)
    support = np.array(truth["observed"]) / truth["rate_hz"]
    keys = np.array(list(truth["units"]))
    np.savez(
        folder / "group.npz",
        type=np.array(["TsGroup"]),
        t=ticks / truth["rate_hz"],
        index=keys[position],
        keys=keys,
        start=support[:, 0],
        end=support[:, 1],
    )
    edges = np.array([[start, stop] for start, stop, _ in truth["trials"]]) / truth["rate_hz"]
    np.savez(folder / "epochs.npz", type=np.array(["IntervalSet"]), start=edges[:, 0], end=edges[:, 1])
    return folder / "group.npz"


def write_spikeinterface_npz(folder, truth):
    """Write what NpzSortingExtractor.write_sorting writes."""
    ticks, position = flat(truth)
    keys = np.array(list(truth["units"]))
    np.savez(
        folder / "sorting.npz",
        unit_ids=keys,
        num_segment=np.array([1]),
        sampling_frequency=np.array([float(truth["rate_hz"])]),
        spike_indexes_seg0=ticks,
        spike_labels_seg0=keys[position],
    )
    return folder / "sorting.npz"


def write_spikeinterface_folder(folder, truth):
    """Write what Sorting.save(format="numpy_folder") writes."""
    path = folder / "sorting"
    (path / "properties").mkdir(parents=True)
    ticks, position = flat(truth)
    rows = np.zeros(ticks.size, dtype=[("sample_index", "<i8"), ("unit_index", "<i8"), ("segment_index", "<i8")])
    rows["sample_index"], rows["unit_index"] = ticks, position
    np.save(path / "spikes.npy", rows)
    info = {"sampling_frequency": float(truth["rate_hz"]), "unit_ids": list(truth["units"]), "num_segments": 1}
    (path / "numpysorting_info.json").write_text(json.dumps(info))
    np.save(path / "properties" / "quality.npy", np.array(["good"] * len(truth["units"])))
    return path


def write_plexon(folder, truth, unit_numbers=(1, 2, 3)):
    """Write a .plx file of version 106: one channel, sorted units 1, 2, 3, strobed events at trial starts."""
    path = folder / "session.plx"
    ticks, position = flat(truth)
    header = record(
        PLX_HEADER, magic=0x58454C50, version=106, ad_hz=truth["rate_hz"], n_dsp=1, n_event=1, n_points=4,
        date=[2026, 1, 1, 0, 0, 0], waveform_hz=truth["rate_hz"], bits=[12, 12], max_mv=[3000, 5000], gain=1000,
    )  # fmt: skip
    header += record(PLX_DSP, name=b"sig001", channel=1, gain=1, n_units=3)
    header += record(PLX_EVENT, name=b"Strobed", channel=257)
    blocks = [(int(tick), 1, unit_numbers[unit]) for tick, unit in zip(ticks, position, strict=True)]
    blocks += [(start, 257, condition) for start, _, condition in truth["trials"]]
    body = b""
    for tick, channel, number in sorted(blocks):
        kind, n_wave = (1, 1) if channel == 1 else (4, 0)
        body += record(
            PLX_BLOCK, type=kind, upper=tick >> 32, time=tick & 0xFFFFFFFF, channel=channel, unit=number,
            n_wave=n_wave, n_words=4 * n_wave,
        ) + bytes(8 * n_wave)  # fmt: skip
    path.write_bytes(header + body)
    return path


def write_blackrock(folder, truth, unit_numbers=(1, 2, 3)):
    """Write a .nev file of specification 2.2: one electrode, digital input at trial starts."""
    path = folder / "session.nev"
    rate = truth["rate_hz"]
    header = struct.pack(
        "<8sBBHIIII8H32s256sI", b"NEURALEV", 2, 2, 1, 336 + 32, NEV_SPIKE.itemsize, rate, rate, *[2026, 1, 4, 1],
        *[0] * 4, b"made by hand", b"", 1,
    )  # fmt: skip
    header += struct.pack("<8sHBBHHhhBB10s", b"NEUEVWAV", 7, 1, 1, 250, 0, 0, 0, 3, 2, b"")
    packets = [
        (int(tick), record(NEV_SPIKE, time=tick, id=7, unit=unit_numbers[unit]))
        for tick, unit in zip(*flat(truth), strict=True)
    ]
    packets += [
        (start, record(NEV_DIGITAL, time=start, reason=1, value=condition)) for start, _, condition in truth["trials"]
    ]
    path.write_bytes(header + b"".join(packet for _, packet in sorted(packets, key=lambda item: item[0])))
    return path


def nlx_header(name, rate):
    """Give the 16 KiB of text that every Neuralynx file starts with."""
    text = (
        "######## Neuralynx Data File Header\r\n## File Name C:\\data\\" + name + "\r\n"
        "## Time Opened (m/d/y): 1/1/2026  (h:m:s.ms) 10:0:0.0\r\n"
        "## Time Closed (m/d/y): 1/1/2026  (h:m:s.ms) 11:0:0.0\r\n"
        "-CheetahRev 5.5.1\r\n-AcqEntName SE1\r\n-FileType Spike\r\n-NumADChannels 1\r\n-ADChannel 0\r\n"
        f"-SamplingFrequency {rate}\r\n-ADBitVolts 0.000000061\r\n-InputRange 2000\r\n-InputInverted False\r\n"
    )
    if name.endswith(".nev"):
        # The file of events belongs to no channel.
        text = text.replace("-NumADChannels 1\r\n-ADChannel 0\r\n", "")
    return text.encode().ljust(16384, b"\0")


def write_neuralynx(folder, truth, unit_numbers=(1, 2, 3)):
    """Write a folder with one single electrode and the events; times are microseconds."""
    path = folder / "cheetah"
    path.mkdir()
    to_us = 1_000_000 / truth["rate_hz"]
    body = b"".join(
        record(NLX_SPIKE, time=round(tick * to_us), unit=unit_numbers[unit])
        for tick, unit in zip(*flat(truth), strict=True)
    )
    (path / "SE1.nse").write_bytes(nlx_header("SE1.nse", truth["rate_hz"]) + body)
    body = b"".join(
        record(NLX_EVENT, time=round(start * to_us), id=11, ttl=condition, text=f"TTL {condition}".encode())
        for start, _, condition in truth["trials"]
    )
    (path / "Events.nev").write_bytes(nlx_header("Events.nev", truth["rate_hz"]) + body)
    return path


def write_neuroexplorer(folder, truth):
    """Write a .nex file: units, also empty ones, trials as intervals, conditions as events a condition."""
    path = folder / "session.nex"
    trials = truth["trials"]
    blocks = [(0, f"unit{unit}", np.asarray(ticks, dtype="<i4").tobytes()) for unit, ticks in truth["units"].items()]
    starts, stops = (np.array([trial[k] for trial in trials], dtype="<i4") for k in (0, 1))
    blocks.append((2, "trials", starts.tobytes() + stops.tobytes()))
    for condition in sorted({trial[2] for trial in trials}):
        chosen = np.array([trial[0] for trial in trials if trial[2] == condition], dtype="<i4")
        blocks.append((1, f"condition {condition}", chosen.tobytes()))
    offset = 544 + 208 * len(blocks)
    first, last = truth["observed"][0][0], truth["observed"][-1][1] - 1
    header = struct.pack("<4si256sdiii260x", b"NEX1", 104, b"", truth["rate_hz"], first, last, len(blocks))
    variables, body = b"", b""
    for kind, name, content in blocks:
        n = len(content) // (8 if kind == 2 else 4)
        variables += record(NEX_VARIABLE, type=kind, version=100, name=name.encode(), offset=offset + len(body), n=n)
        body += content
    path.write_bytes(header + variables + body)
    return path


def write_spike2(folder, truth, unit_numbers=(1, 2, 3)):
    """Write a .smr file of 32 bits: a WaveMark channel with marker codes as units, an event channel; 10 kHz."""
    path = folder / "session.smr"
    per_step = truth["rate_hz"] // 10_000
    header = struct.pack(
        "<h10s8shhhihhhhhid", 6, b"(C) CED 87", b"byhand", 100, 1, 0, 512, 32, 0, 0, 0, 0, 0, 1e-6
    ).ljust(512, b"\0")  # fmt: skip
    marks = b"".join(
        struct.pack("<ii8h", tick // per_step, unit_numbers[unit], *[0] * 8)
        for tick, unit in zip(*flat(truth), strict=True)
    )
    events = b"".join(struct.pack("<i", start // per_step) for start, *_ in truth["trials"])
    n_marks, n_events = sum(map(len, truth["units"].values())), len(truth["trials"])
    last = max(flat(truth)[0].max() // per_step, truth["trials"][-1][0] // per_step)
    first_block = 512 + 32 * 140
    second_block = first_block + 20 + len(marks)

    def channel(kind, start, n_extra, title):
        fixed = struct.pack(
            "<hiiihhhhhh72siih10sfBb", 0, 0, start, start, 1, n_extra, 0, 0, 0, 0, b"", int(last), 1, 0,
            bytes([len(title)]) + title, 10_000.0, kind, 0,
        )  # fmt: skip
        return (fixed + struct.pack("<ff6sh", 1.0, 0.0, b"\x01V", 1)).ljust(140, b"\0")[:140]

    channels = channel(6, first_block, 16, b"nw-1") + channel(3, second_block, 0, b"stim")
    blocks = struct.pack("<iiiihh", -1, -1, 0, int(last), 1, n_marks) + marks
    blocks += struct.pack("<iiiihh", -1, -1, 0, int(last), 2, n_events) + events
    path.write_bytes(header + channels + bytes(30 * 140) + blocks)
    return path


def write_openephys(folder, truth, unit_numbers=(1, 2, 3)):
    """Write a folder with one .spikes file of the older format."""
    path = folder / "openephys"
    path.mkdir()
    text = (
        "header.format = 'Open Ephys Data Format';\nheader.version = 0.4;\nheader.header_bytes = 1024;\n"
        f"header.electrode = 'SE0';\nheader.num_channels = 1;\nheader.sampleRate = {truth['rate_hz']};\n"
    )
    body = b"".join(
        record(
            OE_SPIKE, kind=4, time=tick, n_channels=1, n_samples=40, unit=unit_numbers[unit], gain=1.0,
            rate=truth["rate_hz"],
        )
        for tick, unit in zip(*flat(truth), strict=True)
    )  # fmt: skip
    (path / "SE0.spikes").write_bytes(text.encode().ljust(1024) + body)
    return path


def write_tdt(folder, truth, unit_numbers=(1, 2, 3)):
    """Write a block of TDT: index, channel list, empty data; times are seconds since 1970."""
    path = folder / "Block-1"
    path.mkdir()
    start_s = 1_700_000_000.0
    store = {
        "StoreName": "eNe1", "HeadName": "eNe1", "Enabled": 1, "CircType": 1, "NumChan": 1, "StrobeMode": 1,
        "TankEvType": 33281, "NumPoints": 30, "DataFormat": 0, "SampleFreq": truth["rate_hz"],
    }  # fmt: skip
    text = "".join(f"NAME={name};TYPE=S;VALUE={value};\n" for name, value in store.items())
    (path / "tank_Block-1.Tbk").write_text(text)
    rows = np.zeros(sum(map(len, truth["units"].values())) + 3, dtype=TSQ)
    ticks, position = flat(truth)
    rows["mark"][[1, -1]] = b"\x01", b"\x02"
    spikes = rows[2:-1]
    spikes["kind"], spikes["mark"], spikes["channel"] = 33281, b"eNe1", 1
    spikes["unit"] = np.array(unit_numbers)[position]
    rows["time"][1:] = start_s + np.concatenate(([0], ticks, [truth["observed"][-1][1]])) / truth["rate_hz"]
    (path / "tank_Block-1.tsq").write_bytes(rows.tobytes())
    for ending in (".tdx", ".tev"):
        (path / f"tank_Block-1{ending}").write_bytes(b"\0")
    return path


def write_axona(folder, truth):
    """Write a .set file and one tetrode a unit; the time base of the tetrodes is told in their headers."""
    base_hz = 10_000
    date = "trial_date Thursday, 1 Jan 2026\r\ntrial_time 10:00:00\r\n"
    path = folder / "session.set"
    path.write_text(date + "rawRate 48000\r\npretrigSamps 10\r\nSpike2msMode 0\r\ndata_start", newline="")
    for k, ticks in enumerate(truth["units"].values()):
        head = f"{date}num_chans 4\r\ntimebase {base_hz} hz\r\nsample_rate 48000 hz\r\nnum_spikes {len(ticks)}\r\n"
        rows = np.zeros((len(ticks), 4), dtype=[("time", ">i4"), ("wave", "i1", 50)])
        rows["time"] = (np.asarray(ticks, dtype=np.int64) * base_hz // truth["rate_hz"])[:, None]
        path.with_suffix(f".{k + 1}").write_bytes(head.encode() + b"data_start" + rows.tobytes() + b"\r\ndata_end\r\n")
    return path


def write_nix(folder, truth):
    """Write what Neo's NixIO writes: spike trains in milliseconds, an epoch object called trials."""
    import h5py

    path = folder / "session.nix"
    rate = truth["rate_hz"]
    span = [truth["observed"][0][0] / rate, truth["observed"][-1][1] / rate]
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "nix"
        group = file.create_group("data/block/groups/segment")
        group.attrs["type"] = "neo.segment"
        tags = file.create_group("data/block/groups/segment/multi_tags", track_order=True)

        def add(kind, name, times, unit, properties, labels=None):
            tag = tags.create_group(name)
            tag.attrs["type"] = kind
            positions = tag.create_group("positions")
            positions["data"] = times
            positions.attrs["unit"] = unit
            if labels is not None:
                positions["dimensions/1/labels"] = labels
            for key, (value, of) in properties.items():
                tag[f"metadata/properties/{key}"] = np.array([value], dtype=object if isinstance(value, str) else None)
                tag[f"metadata/properties/{key}"].attrs["unit"] = of
            return tag

        for unit, ticks in truth["units"].items():
            told = {"neo_name": (str(unit), ""), "t_start": (span[0], "s"), "t_stop": (span[1], "s")}
            add("neo.spiketrain", f"train {unit}", np.asarray(ticks) / rate * 1000.0, "ms", told)
        starts, stops = (np.array([trial[k] for trial in truth["trials"]]) / rate for k in (0, 1))
        labels = [str(trial[2]) for trial in truth["trials"]]
        tag = add("neo.epoch", "epoch", starts, "s", {"neo_name": ("trials", "")}, labels)
        tag.create_group("extents")["data"] = stops - starts
        tag["extents"].attrs["unit"] = "s"
    return path


def write_matlab(folder, truth):
    """Write a struct array with one struct a unit, as spikes(k).times, in seconds."""
    import scipy.io

    times = np.empty((1, len(truth["units"])), dtype=[("times", object), ("depth", object)])
    for k, ticks in enumerate(truth["units"].values()):
        times[0, k] = (np.asarray(ticks) / truth["rate_hz"], 100.0 * k)
    scipy.io.savemat(folder / "spikes.mat", {"spikes": times})
    return folder / "spikes.mat"


def write_matlab_cells(folder, truth):
    """Write a struct of cells, as units.ts, in samples."""
    import scipy.io

    cells = np.empty((len(truth["units"]), 1), dtype=object)
    for k, ticks in enumerate(truth["units"].values()):
        cells[k, 0] = np.asarray(ticks, dtype=float)
    scipy.io.savemat(folder / "units.mat", {"units": {"ts": cells}})
    return folder / "units.mat"


def write_fieldtrip(folder, truth):
    """Write FieldTrip's spike structure with time stamps in samples."""
    import scipy.io

    n_units = len(truth["units"])
    label, stamps = (np.empty((1, n_units), dtype=object) for _ in range(2))
    for k, (unit, ticks) in enumerate(truth["units"].items()):
        label[0, k] = f"unit {unit}"
        stamps[0, k] = np.asarray(ticks, dtype=np.int64)[None, :]
    scipy.io.savemat(folder / "fieldtrip.mat", {"spike": {"label": label, "timestamp": stamps}})
    return folder / "fieldtrip.mat"


def write_csv(folder, truth):
    """Write one spike a row, in samples."""
    keys = list(truth["units"])
    rows = "".join(f"{keys[unit]},{tick}\n" for tick, unit in zip(*flat(truth), strict=True))
    (folder / "spikes.csv").write_text("unit,time_samples\n" + rows)
    return folder / "spikes.csv"


def write_npz(folder, truth):
    """Write one array a unit, in samples, and the trials."""
    arrays = {f"unit{unit}_samples": np.asarray(ticks) for unit, ticks in truth["units"].items()}
    for k, name in enumerate(("start_samples", "stop_samples", "condition")):
        arrays[f"trial_{name}"] = np.array([trial[k] for trial in truth["trials"]])
    np.savez(folder / "plain.npz", **arrays)
    return folder / "plain.npz"


def add_member(path, name, content):
    """Add raw bytes to an archive under a name."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, content)
