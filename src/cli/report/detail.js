// One version: what is recorded, why it stays or goes, what changed, and its files down to tensors.
//
// Lists of tensors can be long: each is made when its file is opened, a slice at a time.

/** The version's whole detail, into the dialog. */
function drawDetail(run, version) {
    const at = run.versions.indexOf(version);
    const [newer, older] = [run.versions[at - 1], run.versions[at + 1]];
    const step = (other, text) => other && el("a", { class: "button", href: place(run.run, other.number) }, text);
    return [
        el("div", { class: "detail-head" },
            el("nav", { "aria-label": "Neighbours" }, step(older, `← ${numbered(older?.number)}`), step(newer, `${numbered(newer?.number)} →`)),
            el("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => { location.hash = place(run.run, null); } }, "✕")),
        el("h2", { id: "detail-title", tabindex: -1, autofocus: true }, "Version ", numbered(version.number), el("span", { class: "muted" }, ` of ${run.run}`)),
        el("p", { class: "badges" }, badge(state(version), state(version)), version.number === run.best && badge("tag", "★ best"), marks(version)),
        facts(version), whyBad(version), destiny(version), metrics(version), written(version.provenance),
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
    return el("dl", { class: `pairs ${kind}` }, known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function facts(version) {
    const share = version.share ?? {};
    const stored = version.share ? [["Referenced", size(share.referenced_bytes)], ["Stored", size(share.stored_bytes)], ["Unique", size(share.unique_bytes)], ["Would free", size(share.would_free_bytes)]] : [];
    return pairs([
        ["Time (UTC)", clock(version.utc)], ["Step", count(version.step)], ["Epoch", count(version.epoch)], ["Made by", version.trigger],
        ["Files", count(version.files)], ["Size", size(version.logical_bytes)], ["New", size(version.new_bytes)], ...stored, ["Path then", version.path],
    ]);
}

function whyBad(version) {
    if (version.complete && version.valid) return null;
    return part(version.complete ? "Why it is invalid" : "Why it is incomplete", el("ul", {}, version.why.map(why => el("li", {}, why))));
}

function destiny(version) {
    if (version.expired) {
        const { at, by_hand: byHand, why } = version.expired;
        return part("Removed", el("p", {}, `${since1970(at)}, ${byHand ? "by hand" : "by a rule"}: ${why}`));
    }
    if (goes(version)) return part("It goes", el("p", { class: "goes" }, version.goes));
    const forever = version.kept_for_ever ? [el("li", {}, "kept for ever")] : [];
    return part("It stays", el("ul", {}, version.kept_by.map(reason => el("li", {}, reason)), forever));
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
    return part("Written by", pairs([
        ["Script", known(from.script)], ["Program", known(from.program)], ["Arguments", known(args)], ["Commit", commit], ["Branch", known(from.git_branch)],
        ["Folder", known(from.cwd)], ["User", user], ["Host", known(from.host)], ["Process", known(from.pid)],
    ], "long"));
}

/** A file that opens to its tensors, or just its line where it has none. */
function fileOf(line, file, columns, row) {
    const damage = file.damage ? el("p", { class: "alert" }, `Damaged: ${file.damage}`) : null;
    const left = file.more_tensors > 0 ? el("p", { class: "muted" }, `${many(file.more_tensors, "more tensor")} not listed on this page; ckptfs show and ckptfs diff list all.`) : null;
    if (file.tensors.length === 0) return el("div", { class: "file" }, el("div", { class: "file-line" }, line), damage, left);
    const place = el("div");
    const opened = event => event.target.open && place.childElementCount === 0 && place.append(tensorTable(file.tensors, columns, row));
    return el("details", { class: "file", ontoggle: opened }, el("summary", { class: "file-line" }, line), damage, place, left);
}

function tensorTable(tensors, columns, row) {
    const body = el("tbody"), more = el("div", { class: "center" });
    slices(body, tensors, tensor => el("tr", {}, row(tensor).map(([value, kind]) => el("td", { class: kind ?? "" }, value))), { each: 100, more });
    return el("div", {}, el("div", { class: "scroll" }, el("table", { class: "tensors" }, el("thead", {}, el("tr", {}, columns.map(([name, kind]) => el("th", { scope: "col", class: kind ?? "" }, name)))), body)), more);
}

function listed(files, make) {
    const body = el("div", { class: "files" }), more = el("div", { class: "center" });
    slices(body, files, make, { each: 100, more });
    return [body, more];
}

const CHANGED_COLUMNS = [["Tensor"], ["Change"], ["Type"], ["Shape"], ["Bytes", "number"]];

function changes(version) {
    const { against, files, same_files: same } = version.diff;
    const of = change => files.filter(file => file.change === change).length;
    const told = ["changed", "added", "removed"].filter(of).map(change => `${count(of(change))} ${change}`);
    return part(`Changes since ${numbered(against)}`,
        el("p", { class: "muted" }, [...told, `${count(same)} the same`].join(" · ")),
        listed(files, changedFile));
}

function changedFile(file) {
    const told = file.change === "changed" ? `${size(file.bytes_before)} → ${size(file.bytes_after)}` : size(file.change === "added" ? file.bytes_after : file.bytes_before);
    const tensors = file.tensors.length + file.more_tensors;
    const line = [
        badge(file.change, file.change), el("span", { class: "path" }, file.path, file.against && el("span", { class: "muted" }, ` against ${file.against}`)),
        el("span", { class: "muted" }, [told, file.change !== "removed" && `${size(file.new_bytes)} new`, tensors > 0 && `${many(tensors, "tensor")}, ${count(file.same_tensors)} more the same`].filter(Boolean).join(" · ")),
    ];
    return fileOf(line, file, CHANGED_COLUMNS, tensor => [
        [tensor.name, "path"], [badge(tensor.change, tensor.change)], [turned(tensor.dtype_before, tensor.dtype_after)], [turned(shape(tensor.shape_before), shape(tensor.shape_after))], [size(tensor.bytes), "number"],
    ]);
}

/** One word where before and after agree or one is missing, else both. */
function turned(before, after) {
    return before && after && before !== after ? `${before} → ${after}` : after || before || "";
}

const INSIDE_COLUMNS = [["Tensor"], ["Type"], ["Shape"], ["Offset", "number"], ["Bytes", "number"], ["Stored", "number"]];

function inside({ files }) {
    return part("Files", el("p", { class: "muted" }, `${many(files.length, "file")}. Open one to see its tensors.`), listed(files, insideFile));
}

function insideFile(file) {
    const mode = typeof file.mode === "number" ? (file.mode & 0o7777).toString(8).padStart(4, "0") : null;
    const tensors = file.tensors.length + file.more_tensors;
    const told = [
        file.kind !== "file" && file.kind, file.kind === "file" && size(file.bytes), file.kind === "file" && `${size(file.stored_bytes)} stored`, file.format, tensors > 0 && many(tensors, "tensor"),
        mode, file.mtime !== null && since1970(file.mtime),
    ];
    const line = [
        file.state && badge(file.state === "valid" ? "good" : "invalid", file.state), el("span", { class: "path", title: file.content }, file.path, file.target && ` → ${file.target}`),
        el("span", { class: "muted" }, told.filter(Boolean).join(" · ")),
    ];
    return fileOf(line, file, INSIDE_COLUMNS, tensor => [
        [tensor.name, "path"], [`${tensor.dtype}${tensor.encoded ? "*" : ""}`], [shape(tensor.shape) + (tensor.global_shape ? ` of ${shape(tensor.global_shape)}` : "")],
        [count(tensor.offset), "number"], [size(tensor.bytes), "number"], [size(tensor.stored_bytes), "number"],
    ]);
}
