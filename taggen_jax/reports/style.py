"""The look of a report: one column, system fonts, light or dark as the reader has it."""

CSS = """
:root { --ink: #1f2328; --soft: #626a74; --line: #dfe3e8; --page: #f6f7f9; --card: #ffffff;
  --good: #1d7f55; --good-back: #dff3e8; --bad: #b23a35; --bad-back: #fbe5e3; --miss: #8a6d1d;
  --accent: #2f74bd; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --soft: #9aa3ad; --line: #30363d;
  --page: #14171b;
  --card: #1c2025; --good: #6fd0a2; --good-back: #173527; --bad: #f09a94; --bad-back: #3d1e1d;
  --miss: #d9b95f;
  --accent: #6fb0ee; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 28px; letter-spacing: -0.02em; margin: 0 0 4px; }
h2 { font-size: 19px; letter-spacing: -0.01em; margin: 48px 0 12px; }
h3 { font-size: 15px; margin: 24px 0 8px; }
p { margin: 0 0 12px; max-width: 72ch; }
.soft { color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 14px;
  margin: 20px 0; }
.card, figure, .scroll, .product { background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
.card { padding: 14px 18px 12px; }
.card .name { color: var(--soft); font-size: 13px; }
.card .value { font-size: 32px; font-weight: 650; letter-spacing: -0.02em;
  font-variant-numeric: tabular-nums; }
.card .range { color: var(--soft); font-size: 13px; font-variant-numeric: tabular-nums; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 14px; }
figure { margin: 0; padding: 14px 16px 10px; }
figcaption { font-weight: 600; font-size: 14px; margin-bottom: 6px; }
img.plot { width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; padding: 4px 16px 8px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th { text-align: right; white-space: nowrap; font-weight: 600; color: var(--soft); font-size: 13px;
  padding: 8px 10px; vertical-align: bottom; }
td { text-align: right; padding: 6px 10px; border-top: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
table.words td:nth-child(2), table.words th:nth-child(2) { text-align: left; }
td b { color: var(--accent); font-weight: 650; }
.product { padding: 12px 16px; margin: 0 0 12px; }
.product .head { display: flex; justify-content: space-between; gap: 16px; color: var(--soft);
  font-size: 13px; }
.product .text { margin: 4px 0 8px; overflow-wrap: anywhere; max-width: none; }
.tag { display: inline-block; border-radius: 999px; padding: 1px 10px; margin: 2px 6px 2px 0;
  font-size: 13px;
  border: 1px solid transparent; }
.right { color: var(--good); background: var(--good-back); }
.wrong { color: var(--bad); background: var(--bad-back); }
.missed { color: var(--miss); border: 1px dashed var(--miss); }
.tag small { opacity: 0.75; font-variant-numeric: tabular-nums; margin-left: 4px; }
details { margin-top: 24px; } summary { cursor: pointer; font-weight: 600; margin-bottom: 10px; }
pre { margin: 0;
  font: 12.5px/1.45 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
@media (max-width: 520px) { .plots { grid-template-columns: 1fr; } }
"""
