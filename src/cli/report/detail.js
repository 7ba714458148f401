// One version: what is recorded of it, why it stays or goes, and who wrote it. What changed in it and what is inside is
// in files.js.

/** Closes the dialog, and with it the address forgets the version. */
function closer() {
    const close = () => document.getElementById("detail").close();
    return el("button", { type: "button", class: "close", "aria-label": "Close", onclick: close }, "✕");
}

/** What is said of a version that an address names and the page does not have. */
function drawMissing(run, number) {
    return [
        el("div", { class: "detail-head" }, el("nav"), closer()),
        el("h2", { id: "detail-title", tabindex: -1 }, `Version ${numbered(number)}`),
        el("p", {}, `This page has no such version of ${run ?? "any run"}: it came later, or was reclaimed before.`),
    ];
}

/** The version's whole detail, into the dialog. */
function drawDetail(run, version) {
    const at = run.versions.indexOf(version);
    const [newer, older] = [run.versions[at - 1], run.versions[at + 1]];
    const step = (other, text) => other && el("a", { class: "button", href: place(run.run, other.number) }, text);
    return [
        el(
            "div",
            { class: "detail-head" },
            el(
                "nav",
                { "aria-label": "Neighbours" },
                step(older, `← ${numbered(older?.number)}`),
                step(newer, `${numbered(newer?.number)} →`),
            ),
            closer(),
        ),
        el(
            "h2",
            { id: "detail-title", tabindex: -1, autofocus: true },
            "Version ",
            numbered(version.number),
            el("span", { class: "muted" }, ` of ${run.run}`),
        ),
        el(
            "p",
            { class: "badges" },
            badge(state(version), state(version)),
            version.number === run.best && badge("tag", "★ best"),
            marks(version),
        ),
        facts(version),
        whyBad(version),
        destiny(version),
        metrics(version),
        written(version.provenance),
        version.diff ? changes(version) : null,
        run.inside?.number === version.number ? inside(run.inside) : null,
    ];
}

function part(title, ...children) {
    return el("section", {}, el("h3", {}, title), children);
}

/** Names and values side by side; what is not known is left out. */
function pairs(rows, kind = "") {
    const known = rows.filter(([, value]) => value !== null && value !== undefined && value !== "–");
    return el(
        "dl",
        { class: `pairs ${kind}` },
        known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
    );
}

function facts(version) {
    const share = version.share ?? {};
    const stored = version.share
        ? [
              ["Referenced", size(share.referenced_bytes)],
              ["Stored", size(share.stored_bytes)],
              ["Unique", size(share.unique_bytes)],
              ["Would free", size(share.would_free_bytes)],
          ]
        : [];
    return pairs([
        ["Time (UTC)", clock(version.utc)],
        ["Step", count(version.step)],
        ["Epoch", count(version.epoch)],
        ["Made by", version.trigger],
        ["Files", count(version.files)],
        ["Size", size(version.logical_bytes)],
        ["New", size(grownBy(version))],
        ...stored,
        ["Path then", version.path],
    ]);
}

function whyBad(version) {
    if (version.complete && version.valid) return null;
    return part(
        version.complete ? "Why it is invalid" : "Why it is incomplete",
        el(
            "ul",
            {},
            version.why.map(why => el("li", {}, why)),
        ),
    );
}

function destiny(version) {
    if (version.expired) {
        const { at, by_hand: byHand, why } = version.expired;
        return part("Removed", el("p", {}, `${since1970(at)}, ${byHand ? "by hand" : "by a rule"}: ${why}`));
    }
    if (goes(version)) return part("It goes", el("p", { class: "goes" }, version.goes));
    const forever = version.kept_for_ever ? [el("li", {}, "kept for ever")] : [];
    return part(
        "It stays",
        el(
            "ul",
            {},
            version.kept_by.map(reason => el("li", {}, reason)),
            forever,
        ),
    );
}

function metrics(version) {
    const names = Object.keys(version.metrics).sort();
    if (names.length === 0) return null;
    return part("Metrics", pairs(names.map(name => [name, digits(metricOf(version, name))])));
}

function written(from) {
    if (!from) return part("Written by", el("p", { class: "muted" }, "Not recorded."));
    const known = value => (value === null || value === undefined || value === "" ? null : value);
    const user = known(from.user) ?? (known(from.uid) === null ? null : `uid ${from.uid}`);
    const commit = known(from.git_commit) && [el("code", {}, from.git_commit), from.git_dirty ? " with changes" : ""];
    const args = Array.isArray(from.args) ? from.args.join(" ") : from.args;
    return part(
        "Written by",
        pairs(
            [
                ["Script", known(from.script)],
                ["Program", known(from.program)],
                ["Arguments", known(args)],
                ["Commit", commit],
                ["Branch", known(from.git_branch)],
                ["Folder", known(from.cwd)],
                ["User", user],
                ["Host", known(from.host)],
                ["Process", known(from.pid)],
            ],
            "long",
        ),
    );
}
