// The charts of a run: a metric, the sizes of its versions, and what the store has saved so far.

/** Seconds since 1970 of a version. */
function seconds(version) {
    return version.time[0] + version.time[1] / 1e9;
}

/** The names of all metrics of a run; the one that its policy goes by first. */
function metricNames(run) {
    const names = new Set(run.versions.flatMap(version => Object.keys(version.metrics)));
    const monitor = names.delete(run.monitor) ? [run.monitor] : [];
    return [...monitor, ...[...names].sort()];
}

/** The value of a metric, or undefined. Names are the store's: "constructor" is one like any other. */
function metricOf(version, name) {
    return Object.hasOwn(version.metrics, name) && typeof version.metrics[name] === "number"
        ? version.metrics[name]
        : undefined;
}

/** All charts of a run, or a line that says why there are none. */
function drawPlots(run) {
    const versions = run.versions.filter(version => !version.expired).reverse();
    if (versions.length === 0)
        return el("p", { class: "card empty" }, "There is nothing to draw: this run has no versions.");
    const pick = version => {
        location.hash = place(run.run, version.number);
    };
    return el(
        "div",
        { class: "plots" },
        metricPlot(run, versions, pick),
        sizePlot(run, versions, pick),
        savingPlot(run, versions, pick),
    );
}

/** The horizontal axes that the versions have values for. */
function acrossOf(versions) {
    const steps = { title: "step", kind: "whole", of: version => version.step };
    const times = { title: "time (UTC)", kind: "time", of: seconds };
    const numbers = { title: "version", kind: "whole", of: version => version.number };
    return versions.some(version => version.step !== null) ? [steps, times, numbers] : [times, numbers];
}

function metricPlot(run, versions, pick) {
    const names = metricNames(run);
    if (names.length === 0) {
        return figure(
            "Metric",
            [],
            el(
                "p",
                { class: "empty" },
                "No version has a metric. Metrics come from names of checkpoints, trainer_state.json, numbers at the top of a " +
                    "torch file, or xattrs user.ckptfs.metric.NAME.",
            ),
            "wide",
        );
    }
    const across = acrossOf(versions.filter(version => names.some(name => metricOf(version, name) !== undefined)));
    const metric = chooser("metric", names),
        axis = chooser(
            "over",
            across.map(one => one.title),
        );
    const log = el("input", { type: "checkbox" });
    const host = el("div");
    const draw = () => {
        const name = names[metric.index()],
            x = across[axis.index()];
        const isLog = log.checked && versions.every(version => !(metricOf(version, name) <= 0));
        const star = name === run.monitor ? run.best : null;
        host.replaceChildren(
            chart({
                versions,
                x,
                star,
                pick,
                y: { kind: isLog ? "log" : "number" },
                series: [{ index: 0, paint: "paint-a", of: version => metricOf(version, name) }],
                about: `${name} over ${x.title}`,
                tip: (version, [value]) => tipOf(version, [[name, digits(value)]]),
            }),
        );
    };
    const controls = [metric.node, axis.node, el("label", {}, log, " log scale")];
    fill(log, { onchange: draw }, []);
    metric.node.addEventListener("change", draw);
    axis.node.addEventListener("change", draw);
    draw();
    return figure("Metric", controls, host, "wide");
}

function sizePlot(run, versions, pick) {
    const series = [
        { index: 0, paint: "paint-all", bars: true, name: "all its files", of: version => version.logical_bytes },
        { index: 1, paint: "paint-new", bars: true, name: "new in the store", of: grownBy },
    ];
    const x = { title: "version", kind: "whole", of: (version, index) => index };
    return figure(
        "Size of each version",
        keys(series),
        chart({
            versions,
            series,
            pick,
            x,
            bars: true,
            y: { kind: "bytes", zero: true },
            about: "Bytes of the files of each version, and bytes that it added to the store",
            tip: (version, [all, added]) =>
                tipOf(version, [
                    ["files", size(all)],
                    ["new", size(added)],
                ]),
        }),
    );
}

/** Both are sums over the versions on record: what they hold, and what the packs grew by them. */
function savingPlot(run, versions, pick) {
    const sums = [],
        sum = { all: 0, stored: 0 };
    for (const version of versions) {
        sum.all += version.logical_bytes;
        sum.stored += grownBy(version);
        sums.push({ ...sum });
    }
    const series = [
        {
            index: 0,
            paint: "paint-all",
            area: true,
            name: "all files of all versions",
            of: (version, index) => sums[index].all,
        },
        {
            index: 1,
            paint: "paint-new",
            area: true,
            name: "new in the store",
            of: (version, index) => sums[index].stored,
        },
    ];
    return figure(
        "Savings over time",
        keys(series),
        chart({
            versions,
            series,
            pick,
            x: { title: "time (UTC)", kind: "time", of: seconds },
            y: { kind: "bytes", zero: true },
            about: "Bytes of all versions so far, and what they added to the store",
            tip: (version, [all, stored]) =>
                tipOf(version, [
                    ["all so far", size(all)],
                    ["stored", size(stored)],
                    ["ratio", ratio(all, stored)],
                ]),
        }),
    );
}

/** The words at a point. */
function tipOf(version, rows) {
    const step = version.step === null ? [] : [el("div", { class: "muted" }, `step ${count(version.step)}`)];
    const bad = state(version) === "good" ? [] : [el("div", {}, state(version))];
    return [
        el("strong", {}, numbered(version.number)),
        ...step,
        el("div", { class: "muted" }, clock(version.utc)),
        ...bad,
        ...rows.map(([name, value]) => el("div", { class: "pair" }, el("span", {}, name), el("b", {}, value))),
    ];
}

/** A chart with its heading, and its controls or its key. */
function figure(title, controls, body, kind = "") {
    return el(
        "section",
        { class: `card figure ${kind}` },
        el("div", { class: "bar-head" }, el("h3", {}, title), el("div", { class: "controls" }, controls)),
        body,
    );
}

/** The key of a chart: its colours and their names. */
function keys(series) {
    return series.map(one => el("span", { class: "key" }, el("i", { class: one.paint }), one.name));
}

/** A choice of one name of several. */
function chooser(label, names) {
    const select = el(
        "select",
        {},
        names.map((name, index) => el("option", { value: index }, name)),
    );
    return { node: el("label", {}, `${label} `, select), index: () => select.selectedIndex };
}
