// What no page may have, whatever its data: one expression, a list of what is wrong with the page that is open.

(() => {
    const all = [...document.querySelectorAll("body *")];
    const named = node =>
        `${node.tagName} .${node.className.baseVal ?? node.className} ${node.textContent.slice(0, 40)}`;
    const box = node => node.getBoundingClientRect();

    /** Nothing of the store may become more than text. */
    function harm() {
        const foreign =
            "img, iframe, object, embed, form, base, audio, video, link:not([rel=icon]), script#data ~ script ~ script";
        const handlers = [...document.querySelectorAll("*")]
            .flatMap(node => [...node.attributes])
            .filter(one => one.name.startsWith("on"));
        const hidden = /[\u0000-\u0008\u000b-\u001f\u007f\u200b\u2028-\u202e\u2066-\u2069\ufeff]/;
        return [
            ...(window.harmed === undefined ? [] : ["a string of the store ran as script"]),
            ...[...document.querySelectorAll(foreign)].map(node => `element: ${node.outerHTML.slice(0, 80)}`),
            ...handlers.map(one => `attribute: ${one.name}`),
            ...[...document.querySelectorAll("a")]
                .filter(node => !node.getAttribute("href").startsWith("#"))
                .map(node => `link: ${node.href}`),
            ...(hidden.test(document.body.innerText + document.title) ? ["hidden characters in the text"] : []),
        ];
    }

    /** Nothing may be wider than the window, unless it lies in a part that scrolls by itself. */
    function cut() {
        const width = document.documentElement.scrollWidth;
        const isOut = node => box(node).width > 0 && (box(node).right > innerWidth + 1 || box(node).left < -1);
        const out = all.filter(node => !node.closest(".scroll, .skip, .piece") && isOut(node));
        return [
            ...(width > innerWidth ? [`the page is ${width} wide`] : []),
            ...out.slice(0, 5).map(node => `cut off: ${named(node)}`),
        ];
    }

    /** Texts need the contrast of WCAG AA to what is behind them. */
    function faint() {
        const channels = color => (color.match(/[\d.]+/g) ?? []).map(Number);
        const linear = part => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
        const behind = node => {
            const color = node ? channels(getComputedStyle(node).backgroundColor) : [255, 255, 255];
            return color.length === 3 || color[3] === 1 ? color : behind(node.parentElement);
        };
        const hasText = node => [...node.childNodes].some(one => one.nodeType === Node.TEXT_NODE && one.data.trim());
        const found = new Set();
        for (const node of all.filter(one => hasText(one) && one.getClientRects().length > 0)) {
            const style = getComputedStyle(node);
            const [a, b] = [
                light(channels(node instanceof SVGElement ? style.fill : style.color)),
                light(behind(node)),
            ];
            const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (contrast < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5))
                found.add(`contrast ${contrast.toFixed(2)}: ${named(node)}`);
        }
        return [...found];
    }

    return [...harm(), ...cut(), ...faint()];
})();
