// What stays and what goes: the versions of a run by reason, its settings, and the page's legend.

/** The plan of a run. */
function drawPlan(run) {
    const live = run.versions.filter(version => !version.expired);
    const stay = live.filter(version => !goes(version)),
        go = live.filter(goes);
    return el(
        "div",
        { class: "plan" },
        run.wrong &&
            el("p", { class: "alert" }, `The settings make no sense together, so all versions stay: ${run.wrong}`),
        el(
            "section",
            { class: "card" },
            el("h3", {}, `Stays: ${many(stay.length, "version")}`),
            reasons(run, stay, version => version.kept_by.map(general)),
            stay.length === 0 && el("p", { class: "empty" }, "Nothing."),
        ),
        el(
            "section",
            { class: "card" },
            el("h3", {}, `Goes: ${many(go.length, "version")}`),
            reasons(run, go, version => [version.goes]),
            freed(go),
        ),
        el("section", { class: "card wide" }, el("h3", {}, "Settings"), settings(run)),
    );
}

/** "newest 3 of 10" is one reason with "newest 4 of 10". */
function general(reason) {
    return reason.replace(/^newest \d+ of /, "newest of ");
}

function reasons(run, versions, of) {
    const groups = new Map();
    for (const version of versions)
        for (const reason of new Set(of(version))) groups.set(reason, [...(groups.get(reason) ?? []), version]);
    const neighbours = new Map(run.versions.slice(1).map((version, index) => [run.versions[index], version]));
    return el(
        "ul",
        { class: "reasons" },
        [...groups].map(([reason, found]) =>
            el(
                "li",
                {},
                el("span", {}, reason, el("span", { class: "muted" }, ` · ${many(found.length, "version")}`)),
                el(
                    "span",
                    { class: "ranges" },
                    chips(
                        run,
                        ranges(found, (a, b) => neighbours.get(a) === b),
                    ),
                ),
            ),
        ),
    );
}

/** Links to the versions, those in a row as one; of very many only the first. */
function chips(run, found) {
    const shown = found
        .slice(0, 40)
        .map(([newest, oldest]) =>
            el(
                "a",
                { class: "chip", href: place(run.run, newest.number) },
                newest === oldest
                    ? numbered(newest.number)
                    : `${numbered(oldest.number)} – ${numbered(newest.number)}`,
            ),
        );
    return found.length > 40
        ? [...shown, el("span", { class: "muted" }, `and ${count(found.length - 40)} more`)]
        : shown;
}

function freed(versions) {
    if (versions.length === 0) return el("p", { class: "empty" }, "Nothing.");
    const known = versions.filter(version => version.share);
    if (known.length === 0) return null;
    const least = known.reduce((sum, version) => sum + version.share.would_free_bytes, 0);
    return el(
        "p",
        { class: "muted" },
        `Frees ${size(least)} or more: what only these share is free when all of them are gone.`,
    );
}

/** Those that were set first, and all others folded away. */
function settings(run) {
    const [own, rest] = [
        run.settings.filter(one => one.from !== "default"),
        run.settings.filter(one => one.from === "default"),
    ];
    const list = found =>
        el(
            "dl",
            { class: "pairs" },
            found.map(({ name, value, from }) =>
                el(
                    "div",
                    {},
                    el("dt", {}, name),
                    el("dd", {}, value, el("span", { class: "muted" }, from === "default" ? "" : ` of the ${from}`)),
                ),
            ),
        );
    return [
        own.length > 0 ? list(own) : el("p", { class: "muted" }, "All as the program has them."),
        rest.length > 0 &&
            el(
                "details",
                {},
                el("summary", {}, many(rest.length, "setting"), " as the program has them"),
                list(rest),
            ),
    ];
}

/** What the words on this page mean. */
const LEGEND = [
    ["Version", "A run's folder as it was when a save was complete. Numbers are never used twice."],
    ["Size, new", "All its files; and what storing it added, in chunks that were not there."],
    [
        "Unique, would free",
        "What nothing else refers to; and what would be free without it. Removing two can free more than the sum.",
    ],
    ["good", "Complete, and every known format in it is sound. Resume from the newest one."],
    [
        "incomplete, invalid",
        "A save that was not finished; or a format that is not sound. Neither counts among the newest, and both go soon.",
    ],
    ["removed", "Expired, and not reclaimed yet: ckptfs undelete takes some of them back."],
    ["★", "The best version by the metric that the policy monitors."],
    ["Hollow dot", "In the metric's chart, a version that is not good."],
    ["Kept by, goes", "Every rule that keeps a version; or, of those that the next pass of retention removes, why."],
    ["type with *", "A tensor whose bytes in the file are not its plain elements."],
    ["⟨U+202E⟩", "A character in a name that cannot be seen, or that would turn the text around it."],
];

/** The legend, folded away. */
function drawLegend() {
    return el(
        "details",
        { class: "card legend", id: "legend" },
        el("summary", {}, "What the words mean"),
        el(
            "dl",
            {},
            LEGEND.map(([name, words]) => el("div", {}, el("dt", {}, name), el("dd", {}, words))),
        ),
    );
}
