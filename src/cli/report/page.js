// The page: what the store holds and saved, its runs, one run's history, and the version that the address names.
//
// The address says what is shown: #run=NAME, and version=N for the version that is open. Links set it, and `route`
// draws what it says; so the browser's back button closes what a click opened.

/** Where the bytes went, in the order of `ckptfs stats`: field, name, words, colour. */
const SAVINGS = [
    ["dedup_bytes", "dedup", "chunks that were there already", "c-dedup"],
    ["planes_bytes", "planes", "floats, plane by plane", "c-planes"],
    ["delta_bytes", "delta", "floats, as what they differ in from another version", "c-delta"],
    ["zstd_bytes", "zstd", "everything else that compresses", "c-zstd"],
    ["constant_bytes", "constant", "chunks of one byte", "c-constant"],
    ["holes_bytes", "holes", "stored nowhere", "c-holes"],
    ["other_bytes", "other", "encodings that the program does not know", "c-other"],
    ["lost_bytes", "lost", "chunks that no pack has", "c-lost"],
];

/** What keeping all this costs in the packs. */
const COSTS = [
    ["bases_bytes", "bases"],
    ["metadata_bytes", "lists and trees"],
    ["headers_bytes", "headers"],
    ["garbage_bytes", "not reclaimed yet"],
];

/** What the page was made of, as soon as the document is there. */
let data;
let shownRun = null;

document.addEventListener("DOMContentLoaded", () => {
    data = JSON.parse(document.getElementById("data").textContent);
    document.title = visible(`History of ${data.store} - ckptfs`);
    document.getElementById("top").append(drawTop());
    const page = document.getElementById("page");
    page.append(drawTotals(), drawRuns(), el("div", { id: "run" }), drawLegend());
    const detail = document.getElementById("detail");
    // Escape closes a dialog by itself; the address has to follow.
    fill(
        detail,
        {
            onclose: () => {
                if (asked().version !== null) location.hash = place(shownRun?.run ?? "", null);
            },
            // Beside it, and not into a gap of its own.
            onclick: event =>
                event.target === detail && event.clientX < detail.getBoundingClientRect().left && detail.close(),
        },
        [],
    );
    window.addEventListener("hashchange", route);
    route();
});

/** The run and the version that the address asks for. */
function asked() {
    const at = new URLSearchParams(location.hash.slice(1));
    return { run: at.get("run"), version: at.has("version") ? Number(at.get("version")) : null };
}

/** Draws what the address asks for; without a run in it the one with the newest version. */
function route() {
    const { run: name, version: number } = asked();
    const newest = [...data.runs].sort((a, b) => newestOf(b) - newestOf(a))[0];
    const named = data.runs.find(one => one.run === name);
    const run = named ?? shownRun ?? newest;
    if (run && run !== shownRun) showRun(run);
    const detail = document.getElementById("detail");
    if (number === null) return detail.close();
    const version = (name === null ? run : named)?.versions.find(one => one.number === number);
    detail.replaceChildren(
        ...(version ? drawDetail(run, version).filter(Boolean) : drawMissing(name ?? run?.run, number)),
    );
    if (!detail.open) detail.showModal();
    detail.scrollTop = 0;
    document.getElementById("detail-title").focus();
}

function newestOf(run) {
    return run.versions.length > 0 ? seconds(run.versions[0]) : -Infinity;
}

function showRun(run) {
    shownRun = run;
    const deleted = run.deleted ? badge("invalid", "deleted") : null;
    document
        .getElementById("run")
        .replaceChildren(
            el(
                "div",
                { class: "run-title" },
                el("h2", {}, "Run ", el("span", { class: "path" }, run.run), " ", deleted),
                el(
                    "div",
                    { class: "jumps" },
                    jump("versions", "Versions"),
                    jump("plan", "Plan"),
                    jump("legend", "Legend"),
                ),
            ),
            drawPlots(run),
            el("h2", { id: "versions" }, "Versions"),
            drawTable(run),
            el("h2", { id: "plan" }, "What stays and what goes"),
            drawPlan(run),
        );
    for (const row of document.querySelectorAll("[data-run]"))
        row.classList.toggle("here", row.dataset.run === String(data.runs.indexOf(run)));
}

/** A button and no link: the address keeps naming the run. */
function jump(id, text) {
    return el("button", { type: "button", onclick: () => document.getElementById(id).scrollIntoView() }, text);
}

function drawTop() {
    const themes = ["auto", "light", "dark"];
    let theme = 0;
    const toggle = el(
        "button",
        {
            type: "button",
            class: "theme",
            onclick: () => {
                theme = (theme + 1) % themes.length;
                document.documentElement.dataset.theme = themes[theme];
                toggle.textContent = `Theme: ${themes[theme]}`;
            },
        },
        "Theme: auto",
    );
    return el(
        "div",
        { class: "top" },
        el(
            "div",
            {},
            el("h1", {}, "History of ", el("span", { class: "path" }, data.store)),
            el("p", { class: "muted" }, `Made ${clock(data.generated)} UTC by ckptfs ${data.program}`),
        ),
        toggle,
    );
}

function drawTotals() {
    const { saved, disk } = data;
    const versions = data.runs.reduce((sum, run) => sum + run.versions.length, 0);
    const tile = (name, value, note) =>
        el(
            "div",
            { class: "tile" },
            el("dt", {}, name),
            el("dd", {}, el("b", {}, value), el("span", { class: "muted" }, note)),
        );
    return el(
        "section",
        { class: "card" },
        el(
            "dl",
            { class: "tiles" },
            tile("Versions", count(versions), `in ${many(data.runs.length, "run")}`),
            tile("Saved", size(saved.logical_bytes), "all files of all versions"),
            tile(
                "Stored",
                size(saved.packs_bytes),
                saved.logical_bytes > 0 ? `${percent(saved.packs_bytes, saved.logical_bytes)} of that` : "in packs",
            ),
            tile("Ratio", ratio(saved.logical_bytes, saved.packs_bytes), "saved to stored"),
            tile(
                "On the disk",
                size(disk.total_bytes),
                data.hot_only_bytes > 0 ? `${size(data.hot_only_bytes)} not sealed yet` : "everything of the store",
            ),
        ),
        saved.logical_bytes > 0 ? drawSavings(saved) : null,
        el(
            "details",
            {},
            el("summary", {}, "What occupies the disk"),
            pairs([
                ["Packs", size(disk.packs_bytes)],
                ["Index", size(disk.index_bytes)],
                ["Journal", size(disk.journal_bytes)],
                ["Catalog", size(disk.catalog_bytes)],
                ["Hot files", size(disk.hot_bytes)],
                ["Other", size(disk.other_bytes)],
                ["All", size(disk.total_bytes)],
            ]),
        ),
    );
}

/** The bar is all that was saved; its first part is what of it is left in the packs, without what keeping it costs. */
function drawSavings(saved) {
    const costs = COSTS.reduce((sum, [field]) => sum + saved[field], 0);
    const parts = [
        [saved.packs_bytes - costs, "stored", "what is left", "c-stored"],
        ...SAVINGS.map(([field, ...words]) => [saved[field], ...words]),
    ].filter(([bytes]) => bytes > 0);
    const share = bytes => percent(bytes, saved.logical_bytes);
    const piece = ([bytes, name, , paint]) => {
        const node = el(
            "div",
            { class: `piece ${paint}`, title: `${name}: ${size(bytes)}, ${share(bytes)}` },
            bytes > 0.07 * saved.logical_bytes && el("span", {}, name),
        );
        node.style.flexGrow = bytes / saved.logical_bytes;
        return node;
    };
    const told = COSTS.filter(([field]) => saved[field] > 0).map(([field, name]) => `${name} ${size(saved[field])}`);
    return el(
        "div",
        {},
        el("h2", { class: "small" }, "What became of the bytes that were saved"),
        el(
            "div",
            {
                class: "stack",
                role: "img",
                "aria-label": parts.map(([bytes, name]) => `${name} ${share(bytes)}`).join(", "),
            },
            parts.map(piece),
        ),
        el(
            "ul",
            { class: "parts" },
            parts.map(([bytes, name, words, paint]) =>
                el(
                    "li",
                    {},
                    el("i", { class: paint }),
                    el("b", {}, name),
                    ` ${size(bytes)} · ${share(bytes)}`,
                    el("span", { class: "muted" }, words),
                ),
            ),
        ),
        told.length > 0 && el("p", { class: "muted" }, `The packs hold, besides what is left: ${told.join(", ")}.`),
    );
}

/** The runs, where there are several. */
function drawRuns() {
    if (data.runs.length === 0)
        return el(
            "p",
            { class: "card empty" },
            "This store has no runs yet. The first save of a checkpoint below the mount makes one.",
        );
    if (data.runs.length === 1) return el("span", { hidden: true });
    const row = (run, index) => {
        const sum = of => run.versions.reduce((total, version) => total + of(version), 0);
        const going = run.versions.filter(goes).length;
        return el(
            "a",
            { class: "run", href: place(run.run, null), "data-run": index },
            el("span", { class: "path" }, run.run, " ", run.deleted && badge("invalid", "deleted")),
            el(
                "span",
                { class: "muted" },
                [
                    many(run.versions.length, "version"),
                    run.versions.length > 0 && `${size(sum(version => version.logical_bytes))} saved, ${size(sum(grownBy))} new`,
                    going > 0 && `${count(going)} to go`,
                ]
                    .filter(Boolean)
                    .join(" · "),
            ),
            el("span", { class: "muted" }, run.versions.length > 0 ? `newest ${clock(run.versions[0].utc)}` : ""),
        );
    };
    return el(
        "nav",
        { class: "card flush runs", "aria-label": "Runs" },
        el("h2", { class: "small" }, many(data.runs.length, "run")),
        el("div", { class: "run-list" }, data.runs.map(row)),
    );
}
