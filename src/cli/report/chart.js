// One chart as inline SVG: axes, series, and a mark that follows the pointer or the arrow keys.
//
// A chart is drawn anew for each width of its place. Its points are versions in order of their numbers; `pick` is
// called with the version that is clicked, tapped twice, or chosen by Enter.

const CHART_HEIGHT = 250;

/** A place that keeps the chart `spec` drawn at its own width. */
function chart(spec) {
    const host = el("div", { class: "chart" });
    let drawn = 0;
    new ResizeObserver(() => {
        if (host.clientWidth === drawn || host.clientWidth === 0) return;
        drawn = host.clientWidth;
        host.replaceChildren(...drawChart(spec, drawn));
    }).observe(host);
    return host;
}

function drawChart(spec, width) {
    const points = placed(spec);
    if (points.length === 0) return [el("p", { class: "empty" }, `No version has values for ${spec.about}.`)];
    const scales = scalesOf(spec, points, width);
    const { plot, x, y } = scales;
    const drawn = spec.series.map(series => drawSeries(series, points, scales));
    const picture = svg(
        "svg",
        {
            width,
            height: CHART_HEIGHT,
            viewBox: `0 0 ${width} ${CHART_HEIGHT}`,
            role: "img",
            tabindex: 0,
            "aria-label": spec.about,
        },
        y.ticks.map(tick => [
            svg("line", { class: "grid", x1: plot.left, x2: plot.right, y1: tick.at, y2: tick.at }),
            svg("text", { class: "tick", x: plot.left - 8, y: tick.at + 4, "text-anchor": "end" }, tick.text),
        ]),
        svg("line", { class: "axis", x1: plot.left, x2: plot.right, y1: plot.bottom, y2: plot.bottom }),
        fitting(x.ticks, plot).map(tick =>
            svg("text", { class: "tick", x: tick.at, y: plot.bottom + 18, "text-anchor": "middle" }, tick.text),
        ),
        svg("text", { class: "tick unit", x: plot.right, y: CHART_HEIGHT - 4, "text-anchor": "end" }, spec.x.title),
        drawn,
        drawStar(spec, points, scales),
    );
    return [picture, follow(picture, spec, points, scales)];
}

/** The versions that have a place: their x, and their ys by series. */
function placed(spec) {
    const all = spec.versions.map((version, index) => ({
        version,
        x: spec.x.of(version, index),
        ys: spec.series.map(one => one.of(version, index)),
    }));
    return all.filter(point => typeof point.x === "number" && point.ys.some(y => typeof y === "number"));
}

/** Room for the longest label at the left, and the scales of what is left. */
function scalesOf(spec, points, width) {
    const ys = points.flatMap(point => point.ys.filter(y => typeof y === "number"));
    const inner = { top: 14, bottom: CHART_HEIGHT - 40 };
    const y = scale(spec.y.kind, ys, [inner.bottom, inner.top], { zero: spec.y.zero, snap: spec.y.kind !== "log" });
    const left = 16 + 6.6 * Math.max(3, ...y.ticks.map(tick => tick.text.length));
    const plot = { ...inner, left, right: width - 14 };
    const edge = Math.max(6, spec.bars ? (plot.right - left) / (2 * points.length + 2) : 0);
    const about = Math.max(2, Math.min(10, Math.floor((plot.right - left) / 85)));
    const x = scale(
        spec.x.kind,
        points.map(point => point.x),
        [left + edge, plot.right - edge],
        { about },
    );
    if (spec.bars) x.ticks = orderTicks(spec.versions, x, about);
    const each = (plot.right - left - 2 * edge) / Math.max(1, points.length - 1);
    // Gaps between bars of a few pixels only shimmer.
    return { plot, x, y, band: each < 4 ? each + 0.3 : Math.min(28, 0.8 * each) };
}

/** Where versions stand one after the other: ticks at those with round numbers. */
function orderTicks(versions, x, about) {
    const numbers = versions.map(version => version.number);
    const { values } = AXES.whole.ticks(numbers[0], numbers[numbers.length - 1], about);
    const round = new Set([numbers[0], ...values]);
    return versions.flatMap(({ number }, index) =>
        round.has(number) ? [{ at: x.at(index), text: count(number) }] : [],
    );
}

/** The ticks whose texts stay within the picture and apart from each other. */
function fitting(ticks, plot) {
    let end = -Infinity;
    return ticks.filter(tick => {
        const half = 3.4 * tick.text.length;
        if (tick.at - half < end || tick.at - half < 0 || tick.at + half > plot.right + 14) return false;
        end = tick.at + half + 10;
        return true;
    });
}

/** A series as bars, or as a line with dots where there is room for them. */
function drawSeries(series, points, { x, y, plot, band }) {
    const at = series.index;
    const known = points
        .filter(point => typeof point.ys[at] === "number")
        .map(point => ({ ...point, px: x.at(point.x), py: y.at(point.ys[at]) }));
    if (series.bars) {
        const bar = ({ px, py }) =>
            `M${(px - band / 2).toFixed(1)} ${plot.bottom}V${py.toFixed(1)}h${band.toFixed(1)}V${plot.bottom}z`;
        return svg("path", { class: `bars ${series.paint}`, d: known.map(bar).join("") });
    }
    const line = known
        .map(({ px, py }, index) => `${index === 0 ? "M" : "L"}${px.toFixed(1)} ${py.toFixed(1)}`)
        .join("");
    const ends = known.length > 0 ? `V${plot.bottom}H${known[0].px.toFixed(1)}z` : "";
    const fit = found => (!series.area || known.length === 1) && found.length * 9 < plot.right - plot.left;
    const dots = [known, known.filter(point => state(point.version) !== "good")].find(fit) ?? [];
    return svg(
        "g",
        { class: series.paint },
        series.area && svg("path", { class: "area", d: line && line + ends }),
        svg("path", { class: "line", d: line }),
        dots.map(({ px, py, version }) =>
            svg("circle", {
                class: state(version) === "good" ? "dot" : "dot hollow",
                cx: px.toFixed(1),
                cy: py.toFixed(1),
                r: 3,
            }),
        ),
    );
}

/** A star at the best version, with its value beside it. */
function drawStar(spec, points, { x, y, plot }) {
    const best = points.find(point => point.version.number === spec.star);
    if (!best) return null;
    const px = x.at(best.x),
        py = y.at(best.ys[0]);
    const corner = index => {
        const radius = index % 2 === 0 ? 9 : 4,
            turn = (Math.PI * index) / 5;
        return `${(px + radius * Math.sin(turn)).toFixed(1)},${(py - radius * Math.cos(turn)).toFixed(1)}`;
    };
    const isRight = px > (plot.left + plot.right) / 2;
    const above = py - plot.top > 34;
    return svg(
        "g",
        { class: "star" },
        svg("polygon", { points: [...Array(10).keys()].map(corner).join(" ") }),
        svg(
            "text",
            { x: px + (isRight ? 8 : -8), y: py + (above ? -16 : 26), "text-anchor": isRight ? "end" : "start" },
            `best ${AXES[spec.y.kind].text(best.ys[0])}`,
        ),
    );
}

/** The mark and the words at the point that the pointer or the arrows are at; returns the words' place. */
function follow(picture, spec, points, { plot, x, y }) {
    const tip = el("div", { class: "tip", hidden: true });
    const line = svg("line", { class: "follow", y1: plot.top, y2: plot.bottom });
    const rings = spec.series.map(series => svg("circle", { class: `ring ${series.paint}`, r: 5 }));
    const mark = svg("g", { visibility: "hidden" }, line, rings);
    let shown = -1,
        tapped = false;
    picture.append(mark);
    const show = index => {
        shown = index;
        tip.hidden = index < 0;
        mark.setAttribute("visibility", index < 0 ? "hidden" : "visible");
        if (index < 0) return;
        const point = points[index],
            px = x.at(point.x);
        fill(line, { x1: px, x2: px }, []);
        rings.forEach((ring, at) => {
            const known = typeof point.ys[at] === "number";
            fill(ring, { cx: px, cy: known ? y.at(point.ys[at]) : 0, visibility: known ? "inherit" : "hidden" }, []);
        });
        tip.replaceChildren(...spec.tip(point.version, point.ys));
        const isRight = px > (plot.left + plot.right) / 2;
        tip.style.left = isRight ? "auto" : `${px + 12}px`;
        tip.style.right = isRight ? `${picture.clientWidth - px + 12}px` : "auto";
    };
    const pointed = event => {
        const box = picture.getBoundingClientRect();
        return nearest(points, event.clientX - box.left, event.clientY - box.top, { x, y });
    };
    const pick = () => shown >= 0 && spec.pick(points[shown].version);
    fill(
        picture,
        {
            onpointermove: event => show(pointed(event)),
            onpointerleave: event => event.pointerType === "mouse" && show(-1),
            onpointerdown: event => {
                tapped = event.pointerType !== "mouse" && pointed(event) !== shown;
                show(pointed(event));
            },
            // The first tap only shows: there is no hovering with a finger.
            onclick: () => tapped || pick(),
            onblur: () => show(-1),
            onkeydown: event => {
                const moves = { ArrowRight: shown + 1, ArrowLeft: shown - 1, Home: 0, End: points.length - 1 };
                if (event.key in moves) show(Math.max(0, Math.min(points.length - 1, moves[event.key])));
                else if (event.key === "Enter") pick();
                else if (event.key === "Escape") show(-1);
                else return;
                event.preventDefault();
            },
        },
        [],
    );
    return tip;
}

/** The point nearest to a place; across counts more than up and down. */
function nearest(points, px, py, { x, y }) {
    let found = -1,
        least = Infinity;
    points.forEach((point, index) => {
        const across = x.at(point.x) - px,
            up = y.at(point.ys.find(value => typeof value === "number")) - py;
        const far = across * across + (up * up) / 50;
        if (far < least) [found, least] = [index, far];
    });
    return found;
}
