// Axes: where ticks stand, and what they say. Ticks are round in the unit of their axis: powers of two for bytes, days
// and hours for times, 1, 2 and 5 for all else.

/** The axes by kind: `ticks(from, to, about)` and `text(value, step, first)`. */
const AXES = {
    number: {
        ticks: (from, to, about) => spaced(from, to, decimalStep((to - from) / about)),
        text: value => digits(value),
    },
    whole: {
        ticks: (from, to, about) => spaced(from, to, Math.max(1, decimalStep((to - from) / about))),
        text: shortCount,
    },
    bytes: {
        ticks: (from, to, about) => spaced(from, to, 2 ** Math.ceil(Math.log2(Math.max(1, (to - from) / about)))),
        text: value => size(value).replace(".0 ", " "),
    },
    time: { ticks: timeTicks, text: timeText },
    log: { ticks: logTicks, text: value => digits(value) },
};

/** The smallest of 1, 2, 5 times a power of ten that is `least` or more. */
function decimalStep(least) {
    if (!(least > 0)) return 1;
    const power = 10 ** Math.floor(Math.log10(least));
    return power * [1, 2, 5, 10].find(times => times * power >= least * 0.999999);
}

/** The multiples of `step` from `from` to `to`. */
function spaced(from, to, step) {
    const first = Math.ceil(from / step - 1e-9),
        last = Math.floor(to / step + 1e-9);
    const values = [];
    for (let at = first; at <= last && values.length < 100; at += 1) values.push(at * step);
    return { values, step };
}

/** 1, 2 and 5 of each power of ten; of many powers only some, and no 2 and 5. */
function logTicks(from, to, about) {
    const low = Math.floor(Math.log10(from)),
        high = Math.ceil(Math.log10(to));
    const every = Math.ceil((high - low) / about);
    const times = to / from < 300 ? [1, 2, 5] : [1];
    const values = [];
    for (let power = low; power <= high; power += every) values.push(...times.map(one => one * 10 ** power));
    return { values: values.filter(value => value >= from && value <= to), step: 0 };
}

/** Steps in seconds that people count time in, up to half a month. */
const TIME_STEPS = [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 1209600];

function timeTicks(from, to, about) {
    const step = TIME_STEPS.find(one => one >= (to - from) / about);
    return step ? spaced(from, to, step) : monthTicks(from, to, about);
}

function monthTicks(from, to, about) {
    const months = (to - from) / (30.44 * 86400);
    const every = [1, 2, 3, 6, 12, 24, 60].find(one => one >= months / about) ?? 120;
    const year = new Date(1000 * from).getUTCFullYear();
    const values = [];
    for (let month = 0; values.length < 100; month += every) {
        const at = Date.UTC(year, month) / 1000;
        if (at > to) break;
        if (at >= from) values.push(at);
    }
    return { values, step: every * 30 * 86400 };
}

function timeText(at, step, first) {
    const date = new Date(1000 * at),
        text = date.toISOString();
    const day = `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
    if (step >= 28 * 86400) return `${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
    if (step >= 86400) return day;
    if (first || at % 86400 === 0) return step < 86400 && at % 86400 !== 0 ? `${day} ${text.slice(11, 16)}` : day;
    return text.slice(11, step < 60 ? 19 : 16);
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** 500k, 1M, 1.5M where all ticks of the axis are that round, so that steps fit below it. */
function shortCount(value, step) {
    if (value >= 1e6 && step % 1e5 === 0) return `${count(value / 1e6)}M`;
    return value !== 0 && step % 1e3 === 0 ? `${count(value / 1e3)}k` : count(value);
}

/** From values of an axis to pixels, and its ticks. One value alone gets room around it. */
function scale(kind, values, [begin, end], { zero = false, about = 5, snap = false } = {}) {
    let from = zero ? 0 : Infinity,
        to = zero ? 0 : -Infinity;
    for (const value of values) {
        if (value < from) from = value;
        if (value > to) to = value;
    }
    if (from === to) [from, to] = kind === "log" ? [from / 2, to * 2] : alone(kind, from, zero);
    const { ticks, text } = AXES[kind];
    let found = ticks(from, to, about);
    if (snap && found.step > 0) {
        from = Math.floor(from / found.step + 1e-9) * found.step;
        to = Math.ceil(to / found.step - 1e-9) * found.step;
        found = spaced(from, to, found.step);
    }
    const place = kind === "log" ? Math.log10 : value => value;
    const across = (end - begin) / (place(to) - place(from));
    const at = value => begin + (place(value) - place(from)) * across;
    const labels = found.values.map((value, index) => ({
        value,
        at: at(value),
        text: text(value, found.step, index === 0),
    }));
    return { at, ticks: labels };
}

function alone(kind, value, zero) {
    if (zero) return [0, value || 1];
    const room = kind === "number" ? Math.abs(value) / 10 || 1 : kind === "time" ? 3600 : 1;
    return [value - room, value + room];
}
