// The table of a run's versions: search, filter, sort, and only as many rows in the document as were scrolled to.

/** The columns: name, what a cell shows, what it sorts by; `has` says whether a version has something to show. */
function columnsOf(run) {
    const metric = metricNames(run)[0];
    const share = (name, field) => ({
        name,
        number: true,
        sort: version => version.share?.[field],
        cell: version => size(version.share?.[field]),
        has: version => version.share,
    });
    const columns = [
        {
            name: "Version",
            number: true,
            sort: version => version.number,
            cell: version => [
                link(run, version),
                version.number === run.best && el("span", { class: "best", title: "the best version" }, " ★"),
            ],
        },
        {
            name: "Time (UTC)",
            sort: seconds,
            cell: version => el("span", { title: clock(version.utc) }, clock(version.utc).slice(0, 16)),
        },
        {
            name: "Step",
            number: true,
            sort: version => version.step,
            cell: version => count(version.step),
            has: version => version.step !== null,
        },
        {
            name: "Epoch",
            number: true,
            sort: version => version.epoch,
            cell: version => count(version.epoch),
            has: version => version.epoch !== null,
        },
        {
            name: metric,
            number: true,
            sort: version => metricOf(version, metric),
            cell: version => digits(metricOf(version, metric)),
            has: version => metricOf(version, metric) !== undefined,
        },
        {
            name: "Size",
            number: true,
            sort: version => version.logical_bytes,
            cell: version => size(version.logical_bytes),
        },
        { name: "New", number: true, sort: grownBy, cell: version => size(grownBy(version)) },
        share("Unique", "unique_bytes"),
        share("Would free", "would_free_bytes"),
        { name: "State", sort: state, cell: version => badge(state(version), state(version)) },
        { name: "Made by", sort: version => version.trigger, cell: version => version.trigger },
        {
            name: "Tags",
            sort: version => version.tags[0] ?? (version.pinned ? "" : null),
            cell: marks,
            has: version => version.tags.length > 0 || version.pinned,
        },
        {
            name: "Kept by",
            wide: true,
            sort: fate,
            cell: version =>
                el("span", { class: goes(version) ? "clamp goes" : "clamp", title: fate(version) }, fate(version)),
        },
    ];
    return columns.filter(column => !column.has || run.versions.some(column.has));
}

function link(run, version) {
    return el("a", { href: place(run.run, version.number) }, numbered(version.number));
}

/** Every rule that keeps a version, or why it goes. */
function fate(version) {
    if (version.expired) return `removed: ${version.expired.why}`;
    return goes(version) ? `goes: ${version.goes}` : version.kept_by.join(", ");
}

const FILTERS = [
    ["all", () => true],
    ["good", version => state(version) === "good"],
    ["incomplete or invalid", version => !version.complete || !version.valid],
    ["tagged or pinned", version => version.tags.length > 0 || version.pinned],
    ["goes", goes],
    ["removed", version => Boolean(version.expired)],
];

/** What the search looks at, in lower case. */
function words(version) {
    const from = version.provenance ?? {};
    return [
        numbered(version.number),
        clock(version.utc),
        `step ${version.step}`,
        `epoch ${version.epoch}`,
        version.trigger,
        state(version),
        version.path,
        ...version.tags,
        version.pinned ? "pinned" : "",
        ...version.why,
        fate(version),
        from.host,
        from.user,
        from.program,
        from.script,
        from.git_commit,
        from.git_branch,
    ]
        .filter(Boolean)
        .join("\n")
        .toLowerCase();
}

/** The table, its search and filters. */
function drawTable(run) {
    if (run.versions.length === 0)
        return el(
            "p",
            { class: "card empty" },
            "This run has no versions yet. The next completed save of a checkpoint makes one.",
        );
    const columns = columnsOf(run);
    const view = { run, columns, by: 0, down: true, texts: new Map() };
    const parts = {
        search: el("input", {
            type: "search",
            placeholder: "Search number, time, tag, commit, reason ...",
            "aria-label": "Search versions",
        }),
        filter: el("select", { "aria-label": "Show" }, filtersOf(run)),
        order: el(
            "select",
            { "aria-label": "Sort by", class: "narrow" },
            columns.map((column, index) => [
                el("option", { value: `${index} down` }, `${column.name} ↓`),
                el("option", { value: `${index} up` }, `${column.name} ↑`),
            ]),
        ),
        told: el("span", { class: "muted", role: "status" }),
        heads: el("tr"),
        body: el("tbody", { id: "rows" }),
        more: el("div", { class: "center" }),
        box: el("div", { class: "scroll tall" }),
    };
    const redraw = () => drawRows(view, parts, redraw);
    fill(parts.search, { oninput: redraw }, []);
    fill(parts.filter, { onchange: redraw }, []);
    fill(
        parts.order,
        {
            onchange: () => {
                const [by, way] = parts.order.value.split(" ");
                Object.assign(view, { by: Number(by), down: way === "down" });
                redraw();
            },
        },
        [],
    );
    fill(parts.body, { onclick: event => openRow(event) }, []);
    redraw();
    return el(
        "div",
        { class: "card flush" },
        el("div", { class: "tools" }, parts.search, parts.filter, parts.order, parts.told),
        fill(parts.box, {}, [el("table", { class: "rows" }, el("thead", {}, parts.heads), parts.body), parts.more]),
    );
}

function filtersOf(run) {
    const counted = FILTERS.map(([name, is], index) => ({ name, index, found: run.versions.filter(is).length }));
    return counted.map(({ name, index, found }) =>
        el("option", { value: index, disabled: found === 0 }, `${name} (${count(found)})`),
    );
}

/** A click beside the links of a row opens its version too, unless text is being marked. */
function openRow(event) {
    const row = event.target.closest("tr");
    if (row && !event.target.closest("a") && String(getSelection()) === "")
        location.hash = row.querySelector("a").getAttribute("href");
}

function drawRows(view, parts, redraw) {
    const sought = parts.search.value.trim().toLowerCase(),
        [, is] = FILTERS[Number(parts.filter.value)];
    const text = version => view.texts.get(version) ?? view.texts.set(version, words(version)).get(version);
    const found = view.run.versions.filter(
        version => is(version) && (sought === "" || text(version).includes(sought)),
    );
    found.sort(ordered(view.columns[view.by].sort, view.down));
    parts.heads.replaceChildren(...view.columns.map((column, index) => head(view, column, index, redraw)));
    parts.order.value = `${view.by} ${view.down ? "down" : "up"}`;
    parts.told.textContent =
        found.length === view.run.versions.length
            ? many(found.length, "version")
            : `${count(found.length)} of ${many(view.run.versions.length, "version")}`;
    parts.box.scrollTop = 0;
    slices(parts.body, found, version => rowOf(view.columns, version), {
        each: 100,
        more: parts.more,
        box: parts.box,
    });
}

/** By `key`; what has none comes last either way, and equal ones newest first. */
function ordered(key, down) {
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    return (one, other) => {
        const [a, b] = [key(one) ?? null, key(other) ?? null];
        if (a === null || b === null) return (a === null) - (b === null) || other.number - one.number;
        return (down ? compare(b, a) : compare(a, b)) || other.number - one.number;
    };
}

function head(view, column, index, redraw) {
    const is = view.by === index;
    const turn = () => {
        Object.assign(view, { by: index, down: is ? !view.down : Boolean(column.number) });
        redraw();
        document.querySelectorAll(".rows th button")[index].focus();
    };
    return el(
        "th",
        {
            scope: "col",
            class: column.number ? "number" : "",
            "aria-sort": is ? (view.down ? "descending" : "ascending") : null,
        },
        el(
            "button",
            { type: "button", title: column.name, onclick: turn },
            column.name,
            el("span", { class: "way", "aria-hidden": "true" }, is ? (view.down ? "↓" : "↑") : ""),
        ),
    );
}

function rowOf(columns, version) {
    return el(
        "tr",
        { class: goes(version) ? "going" : "" },
        columns.map(column => {
            const has = column.has ? column.has(version) : true;
            return el(
                "td",
                {
                    class: [column.number ? "number" : "", column.wide ? "wide" : "", has ? "" : "none"]
                        .join(" ")
                        .trim(),
                    "data-name": column.name,
                },
                column.cell(version),
            );
        }),
    );
}
