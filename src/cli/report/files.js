// The files of a version down to their tensors: what changed since the one before, and what is inside.
//
// Lists of tensors can be long: each is made when its file is opened, a slice at a time.

/** A file that opens to its tensors, or just its line where it has none. */
function fileOf(line, file, columns, row) {
    const damage = file.damage ? el("p", { class: "alert" }, `Damaged: ${file.damage}`) : null;
    const left =
        file.more_tensors > 0
            ? el(
                  "p",
                  { class: "muted" },
                  `${many(file.more_tensors, "more tensor")} not listed here; ckptfs show and diff list all.`,
              )
            : null;
    if (file.tensors.length === 0)
        return el("div", { class: "file" }, el("div", { class: "file-line" }, line), damage, left);
    const place = el("div");
    const opened = event =>
        event.target.open && place.childElementCount === 0 && place.append(tensorTable(file.tensors, columns, row));
    return el(
        "details",
        { class: "file", ontoggle: opened },
        el("summary", { class: "file-line" }, line),
        damage,
        place,
        left,
    );
}

function tensorTable(tensors, columns, row) {
    const body = el("tbody"),
        more = el("div", { class: "center" });
    slices(
        body,
        tensors,
        tensor =>
            el(
                "tr",
                {},
                row(tensor).map(([value, kind], at) =>
                    el("td", { class: kind ?? "", "data-name": columns[at][0] }, value),
                ),
            ),
        { each: 100, more },
    );
    return el(
        "div",
        {},
        el(
            "div",
            { class: "scroll" },
            el(
                "table",
                { class: "tensors" },
                el(
                    "thead",
                    {},
                    el(
                        "tr",
                        {},
                        columns.map(([name, kind]) => el("th", { scope: "col", class: kind ?? "" }, name)),
                    ),
                ),
                body,
            ),
        ),
        more,
    );
}

function listed(files, make) {
    const body = el("div", { class: "files" }),
        more = el("div", { class: "center" });
    slices(body, files, make, { each: 100, more });
    return [body, more];
}

const CHANGED_COLUMNS = [["Tensor"], ["Change"], ["Type"], ["Shape"], ["Bytes", "number"]];

function changes(version) {
    const { against, files, same_files: same } = version.diff;
    const of = change => files.filter(file => file.change === change).length;
    const told = ["changed", "added", "removed"].filter(of).map(change => `${count(of(change))} ${change}`);
    return part(
        `Changes since ${numbered(against)}`,
        el("p", { class: "muted" }, [...told, `${count(same)} the same`].join(" · ")),
        listed(files, changedFile),
    );
}

function changedFile(file) {
    const told =
        file.change === "changed"
            ? `${size(file.bytes_before)} → ${size(file.bytes_after)}`
            : size(file.change === "added" ? file.bytes_after : file.bytes_before);
    const tensors = file.tensors.length + file.more_tensors;
    const line = [
        badge(file.change, file.change),
        el(
            "span",
            { class: "path" },
            file.path,
            file.against && el("span", { class: "muted" }, ` against ${file.against}`),
        ),
        el(
            "span",
            { class: "muted" },
            [
                told,
                file.change !== "removed" && `${size(file.new_bytes)} new`,
                tensors > 0 && `${many(tensors, "tensor")}, ${count(file.same_tensors)} more the same`,
            ]
                .filter(Boolean)
                .join(" · "),
        ),
    ];
    return fileOf(line, file, CHANGED_COLUMNS, tensor => [
        [tensor.name, "path"],
        [badge(tensor.change, tensor.change)],
        [turned(tensor.dtype_before, tensor.dtype_after)],
        [turned(shape(tensor.shape_before), shape(tensor.shape_after))],
        [size(tensor.bytes), "number"],
    ]);
}

/** One word where before and after agree or one is missing, else both. */
function turned(before, after) {
    return before && after && before !== after ? `${before} → ${after}` : after || before || "";
}

const INSIDE_COLUMNS = [
    ["Tensor"],
    ["Type"],
    ["Shape"],
    ["Offset", "number"],
    ["Bytes", "number"],
    ["Stored", "number"],
];

function inside({ files }) {
    return part(
        "Files",
        el("p", { class: "muted" }, `${many(files.length, "file")}. Open one to see its tensors.`),
        listed(files, insideFile),
    );
}

function insideFile(file) {
    const mode = typeof file.mode === "number" ? (file.mode & 0o7777).toString(8).padStart(4, "0") : null;
    const tensors = file.tensors.length + file.more_tensors;
    const told = [
        file.kind !== "file" && file.kind,
        file.kind === "file" && size(file.bytes),
        file.kind === "file" && `${size(file.stored_bytes)} stored`,
        file.format,
        tensors > 0 && many(tensors, "tensor"),
        mode,
        file.mtime !== null && since1970(file.mtime),
    ];
    const line = [
        file.state && badge(file.state === "valid" ? "good" : "invalid", file.state),
        el("span", { class: "path", title: file.content }, file.path, file.target && ` → ${file.target}`),
        el("span", { class: "muted" }, told.filter(Boolean).join(" · ")),
    ];
    return fileOf(line, file, INSIDE_COLUMNS, tensor => [
        [tensor.name, "path"],
        [`${tensor.dtype}${tensor.encoded ? "*" : ""}`],
        [shape(tensor.shape) + (tensor.global_shape ? ` of ${shape(tensor.global_shape)}` : "")],
        [count(tensor.offset), "number"],
        [size(tensor.bytes), "number"],
        [size(tensor.stored_bytes), "number"],
    ]);
}
