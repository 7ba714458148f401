"use strict";
// Text and numbers of the page.
//
// Invariant: a string of the store reaches the document as a text node or an attribute, through `visible`, and in no
// other way. No file here assigns markup. All files are one script, in any order: nothing runs before the document is
// there (page.js).

/** Characters that are not seen, or that turn the text around them: controls, bidi marks, fillers, tags. */
const HIDDEN =
    /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;

/** `text` with such characters spelt out, as ⟨U+202E⟩. */
function visible(text) {
    return String(text).replace(
        HIDDEN,
        found => `⟨U+${found.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`,
    );
}

/** What the packs have grown by a version, as it is stored now; where that is not known, as it was made. */
function grownBy(version) {
    return version.share?.added_bytes ?? version.new_bytes;
}

/** Fills `node`: `on...` are listeners, all else attributes; null and false leave one out; arrays of children are flat. */
function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
        if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
        else if (value !== null && value !== undefined && value !== false)
            node.setAttribute(name, visible(value === true ? "" : value));
    }
    for (const child of children.flat(3)) {
        if (child === null || child === undefined || child === false) continue;
        node.append(child instanceof Node ? child : visible(child));
    }
    return node;
}

/** An HTML element. */
function el(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
function svg(tag, attributes = {}, ...children) {
    return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/** Bytes for people, "1.2 GiB"; of nothing known a dash. */
function size(bytes) {
    if (bytes === null || bytes === undefined) return "–";
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let value = bytes,
        unit = 0;
    while (Math.abs(value) >= (unit === 0 ? 1024 : 1023.95) && unit < units.length - 1) {
        value /= 1024;
        unit += 1;
    }
    return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** A count with its thousands apart. */
function count(number) {
    return number === null || number === undefined ? "–" : number.toLocaleString("en");
}

/** "1 version", "2 versions". */
function many(number, one, more = `${one}s`) {
    return `${count(number)} ${number === 1 ? one : more}`;
}

/** A metric with five digits, without zeros at the end. */
function digits(value) {
    if (typeof value !== "number") return "–";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(3).replace(/\.?0+e/, "e");
    return String(Number(value.toPrecision(5)));
}

/** What part of `whole` that is, "12.5 %". */
function percent(part, whole) {
    return whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : "–";
}

/** How often `part` goes into `whole`, "3.4 ×". */
function ratio(whole, part) {
    return part > 0 ? `${(whole / part).toFixed(whole / part < 100 ? 1 : 0)} ×` : "–";
}

/** A version's number as everywhere in ckptfs, 000042. */
function numbered(number) {
    return String(number).padStart(6, "0");
}

/** A time of RFC 3339 to the second, without its T and Z. */
function clock(utc) {
    return utc.replace("T", " ").replace(/(\.\d+)?Z$/, "");
}

/** Seconds since 1970, or such a pair with nanoseconds, as a time of UTC. */
function since1970(time) {
    const date = new Date(1000 * (Array.isArray(time) ? time[0] : time));
    return Number.isNaN(date.getTime()) ? String(time) : clock(date.toISOString());
}

/** Shape of a tensor, "[768, 3072]". */
function shape(sides) {
    return sides ? `[${sides.join(", ")}]` : "";
}

/** Numbers in order as ranges: [[1, 3], [7, 7]]. `next` says whether the second follows the first. */
function ranges(numbers, next) {
    const found = [];
    for (const number of numbers) {
        const last = found[found.length - 1];
        if (last && next(last[1], number)) last[1] = number;
        else found.push([number, number]);
    }
    return found;
}

/** Where a version of a run is on this page. */
function place(run, version) {
    const at = new URLSearchParams({ run });
    if (version !== null) at.set("version", version);
    return `#${at}`;
}

/** One word for a version: good, incomplete, invalid or removed. */
function state(version) {
    if (version.expired) return "removed";
    if (!version.complete) return "incomplete";
    return version.valid ? "good" : "invalid";
}

/** Whether retention lets a version go. */
function goes(version) {
    return !version.expired && version.kept_by.length === 0;
}

/** A word in a coloured frame. */
function badge(kind, text) {
    return el("span", { class: `badge ${kind}` }, text);
}

/** The tags of a version, and its pin. */
function marks(version) {
    const tags = version.tags.map(tag => badge("tag", tag));
    return version.pinned ? [...tags, badge("tag", "pinned")] : tags;
}

/** `rows` into `body`, a slice at a time: the next when `box` is scrolled near its end or "more" is pressed. */
function slices(body, rows, make, { each, more, box }) {
    let shown = 0;
    const button = el("button", { type: "button", class: "more", onclick: () => next() });
    const next = () => {
        body.append(...rows.slice(shown, shown + each).map(make));
        shown = Math.min(rows.length, shown + each);
        button.hidden = shown >= rows.length;
        button.textContent = `Show ${count(Math.min(each, rows.length - shown))} more of ${count(rows.length - shown)}`;
    };
    if (box)
        box.onscroll = () =>
            box.scrollHeight - box.scrollTop - box.clientHeight < 600 && shown < rows.length && next();
    body.replaceChildren();
    more.replaceChildren(button);
    next();
}
