"""The style and the script of the page."""

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
       max-width: 1040px; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #ccc; }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
p { margin: .4rem 0; max-width: 75ch; }
.note { color: #555; }
.warning { border-left: 4px solid #b35900; padding: .3rem .8rem; background: #fff6ea; }
table { border-collapse: collapse; margin: .6rem 0; font-size: .92rem; }
th, td { padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #e3e3e3;
         vertical-align: top; overflow-wrap: break-word; max-width: 60ch;
         white-space: pre-line; }
th { border-bottom: 2px solid #999; white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.wide { overflow-x: auto; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.figures img { max-width: 100%; height: auto; width: 480px; }
.figures img.wide-figure { width: 820px; }
.structures { display: grid; grid-template-columns: repeat(auto-fill, minmax(280px, 1fr));
              gap: 1rem; }
figure { margin: 0; border: 1px solid #ddd; border-radius: 6px; padding: .6rem; }
figcaption { font-size: .88rem; }
svg.atoms { width: 100%; cursor: grab; touch-action: none; }
svg.atoms circle { stroke: #333; stroke-width: .8; }
svg.atoms .b { stroke: #777; stroke-width: 3; }
svg.atoms .c { stroke: #aaa; stroke-width: 1; }
svg.atoms .a { stroke: #c00000; stroke-width: 2.5; stroke-linecap: round; }
summary { cursor: pointer; color: #0b4f8a; }
"""

# Turns a drawing about the axis across the movement of the pointer, and draws what is behind first.
SCRIPT = """
for (const svg of document.querySelectorAll("svg.atoms")) {
  const parts = [...svg.children].map(e => ({e, p: e.dataset.p.split(",").map(Number)}));
  const turn = (p, i, ax, ay) => {
    const x = p[i] * Math.cos(ay) + p[i + 2] * Math.sin(ay);
    const z = p[i + 2] * Math.cos(ay) - p[i] * Math.sin(ay);
    p[i] = x;
    const y = p[i + 1] * Math.cos(ax) + z * Math.sin(ax);
    p[i + 2] = z * Math.cos(ax) - p[i + 1] * Math.sin(ax);
    p[i + 1] = y;
  };
  const depth = ({e, p}) => (p.length > 3 ? (p[2] + p[5]) / 2 : p[2])
    + (e.classList.contains("a") ? 1000 : 0);
  const draw = () => {
    for (const {e, p} of parts) {
      const names = p.length > 3 ? ["x1", "y1", "x2", "y2"] : ["cx", "cy"];
      names.forEach((name, k) => e.setAttribute(name, p[k + (k > 1 ? 1 : 0)].toFixed(1)));
    }
    parts.sort((a, b) => depth(a) - depth(b)).forEach(({e}) => svg.append(e));
  };
  let last = null;
  svg.onpointerdown = e => { last = e; svg.setPointerCapture(e.pointerId); };
  svg.onpointerup = svg.onpointercancel = () => { last = null; };
  svg.onpointermove = e => {
    if (!last) return;
    const ay = (e.clientX - last.clientX) / 100, ax = (e.clientY - last.clientY) / 100;
    for (const {p} of parts) for (let i = 0; i < p.length; i += 3) turn(p, i, ax, ay);
    last = e;
    draw();
  };
}
"""
