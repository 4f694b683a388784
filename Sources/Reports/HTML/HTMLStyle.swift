/// The page's style sheet and its one script; nothing is loaded from anywhere.
enum HTMLStyle {
  /// Colours are names, given once for light and once for dark; the eight series keep apart for colour-blind readers
  /// (after Okabe & Ito 2008).
  static let sheet = colours + layout + plots

  private static let colours = """
    :root{color-scheme:light dark;--page:#f6f5f1;--card:#ffffff;--ink:#1c2026;--muted:#5d6570;--line:#dedcd4;\
    --soft:#efede7;--accent:#2c6fb3;--band:#9cc3e8;--good:#17724a;--goodback:#e3f2e9;--bad:#b3261e;--badback:#fbe9e7;\
    --warn:#8a5a00;--warnback:#fdf3dc;--neutralback:#e8eef5;--s0:#0065a8;--s1:#b87f00;--s2:#00875f;--s3:#b8528f;\
    --s4:#c84e00;--s5:#2f9fd8;--s6:#5b4bb5;--s7:#6b7280;\
    --h1:#e3edf7;--h2:#cadff1;--h3:#a9cce8;--h4:#83b4dc;--h5:#5b99cd;\
    --h6:#3b7ebb;--h7:#2563a3;--h8:#174a84;--h9:#0d3362}
    @media (prefers-color-scheme:dark){:root{--page:#121519;--card:#1a1e24;--ink:#e7e9ec;--muted:#a0a8b3;--line:#333a44;\
    --soft:#242a32;--accent:#6cabec;--band:#2f5f92;--good:#56c98f;--goodback:#15301f;--bad:#ff8a80;--badback:#3a1a18;\
    --warn:#e9b949;--warnback:#332810;--neutralback:#1d2a3a;--s0:#58a9ec;--s1:#e6b13a;--s2:#2fc79a;--s3:#e38fc4;\
    --s4:#ff8a4c;--s5:#8fd3f7;--s6:#a99cf5;--s7:#a3abb6;\
    --h1:#1f2b38;--h2:#22374c;--h3:#274661;--h4:#2f5a80;--h5:#3b719f;\
    --h6:#4d8bbe;--h7:#6aa7d8;--h8:#95c4eb;--h9:#c8e3fb}}

    """

  private static let layout = """
    *{box-sizing:border-box}
    body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,\
    "Liberation Sans",sans-serif;font-variant-numeric:tabular-nums}
    main{max-width:1160px;margin:0 auto;padding:28px 20px 56px}
    h1{font-size:27px;line-height:1.2;margin:2px 0 4px;font-weight:650;overflow-wrap:anywhere;letter-spacing:-.01em}
    h2{font-size:19px;margin:40px 0 4px;font-weight:650}
    h3{font-size:14px;margin:0;font-weight:600}
    p{margin:0}
    code{font:12.5px/1.5 ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere}
    .eyebrow{color:var(--muted);font-size:13px}
    .lead,.reading{color:var(--muted);max-width:78ch}
    .reading{font-size:13.5px;margin-top:8px}
    .verdict{display:flex;gap:16px;align-items:flex-start;border-radius:12px;padding:18px 20px;margin:20px 0 14px}
    .verdict .sign{flex:none;width:38px;height:38px;border-radius:50%;display:grid;place-items:center;font-size:21px;\
    font-weight:700;color:var(--card)}
    .verdict>div:last-child{min-width:0;overflow-wrap:anywhere}
    .verdict h2{margin:0;font-size:21px}
    .passed{background:var(--goodback)}.passed .sign{background:var(--good)}.passed h2{color:var(--good)}
    .failed{background:var(--badback)}.failed .sign{background:var(--bad)}.failed h2{color:var(--bad)}
    .unlimited{background:var(--neutralback)}.unlimited .sign{background:var(--accent)}
    .verdict ul{list-style:none;margin:8px 0 0;padding:0;display:flex;flex-wrap:wrap;gap:2px 26px}
    .warnings{background:var(--warnback);border-radius:12px;padding:12px 20px;margin:0 0 14px;list-style:none}
    .warnings li::before{content:"!";color:var(--warn);font-weight:700;margin-right:10px}
    .good{color:var(--good)}.bad{color:var(--bad)}.muted{color:var(--muted)}
    .cards{display:grid;grid-template-columns:repeat(4,1fr);gap:14px}
    .card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 18px;min-width:0}
    .cards .card{display:flex;flex-direction:column}
    .big{font-size:30px;line-height:1.25;font-weight:650;letter-spacing:-.02em;margin-top:2px}
    .big small{font-size:14px;font-weight:400;color:var(--muted);letter-spacing:0}
    .sub{font-size:13px;color:var(--muted)}
    .cards .reading{margin-top:10px;font-size:12.5px;line-height:1.4}
    .gap{margin-top:22px;font-size:13px;font-weight:600}
    .track{position:relative;height:16px;margin:10px 0 2px;background:var(--soft);border-radius:4px;overflow:hidden}
    .track i{position:absolute;top:0;bottom:0;display:block}
    .track .beyond{background:repeating-linear-gradient(135deg,var(--badback) 0 4px,transparent 4px 8px)}
    .track .interval{background:var(--band);top:4px;bottom:4px;border-radius:3px;min-width:3px}
    .track .value{width:3px;margin-left:-1.5px;background:var(--ink);top:1px;bottom:1px;border-radius:2px}
    .track .limit{width:2px;margin-left:-1px;background:var(--bad)}
    .track .fill{background:var(--accent);left:0;border-radius:4px}
    .track .rest{background:var(--s7);left:0;border-radius:4px}
    .ends{display:flex;justify-content:space-between;gap:8px;font-size:11.5px;color:var(--muted)}
    .grid{display:grid;grid-template-columns:1fr 1fr;gap:14px;margin-top:14px}
    .stack{margin-top:14px}
    .row{display:grid;grid-template-columns:92px 1fr 190px;gap:4px 14px;align-items:center;margin-top:12px}
    .row .track{margin:0}
    .ends.inset{margin:2px 204px 0 106px}
    .scroll{overflow-x:auto;margin-top:10px}
    table{border-collapse:collapse;width:100%;font-size:13.5px}
    th{text-align:left;font-weight:600;color:var(--muted);border-bottom:1px solid var(--line);padding:5px 14px 5px 0;\
    vertical-align:bottom;white-space:nowrap}
    td{border-bottom:1px solid var(--soft);padding:5px 14px 5px 0;vertical-align:top}
    td.n,th.n{text-align:right}
    td code{overflow-wrap:normal}
    td.n{white-space:nowrap}
    td.w{min-width:210px}
    td:first-child{min-width:150px}
    td:last-child,th:last-child{padding-right:0}
    th button{all:unset;cursor:pointer}
    th button:focus-visible{outline:2px solid var(--accent)}
    th[aria-sort=ascending] button::after{content:" ↑"}
    th[aria-sort=descending] button::after{content:" ↓"}
    .scroll svg{max-width:none;margin:0}
    .meter{display:inline-block;vertical-align:middle;width:64px;height:7px;background:var(--soft);border-radius:3px;\
    margin-left:8px;overflow:hidden}
    .meter i{display:block;height:100%;background:var(--accent);border-radius:3px}
    .meter.long{width:170px;margin-left:0}
    details{margin-top:12px}
    summary{cursor:pointer;color:var(--accent);font-size:14px}
    pre{background:var(--soft);border-radius:8px;padding:12px 14px;overflow-x:auto;margin:8px 0 0;font:12.5px/1.5 \
    ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace}
    dl{display:grid;grid-template-columns:max-content 1fr;gap:5px 18px;margin:12px 0 0;font-size:13.5px}
    dt{color:var(--muted)}dd{margin:0;min-width:0;overflow-wrap:anywhere}
    .medium,.small{display:none}
    @media (max-width:1000px){.cards,.grid{grid-template-columns:1fr 1fr}.grid{grid-template-columns:1fr}\
    .large{display:none}.medium{display:block}}
    @media (max-width:620px){th{white-space:normal}.large,.medium{display:none}.small{display:block}\
    main{padding:18px 12px 40px}.cards{grid-template-columns:1fr}.verdict{padding:14px}\
    .card{padding:14px}h1{font-size:22px}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:6px}\
    .row{grid-template-columns:1fr max-content}.row .track{grid-column:1/-1;order:3}.ends.inset{margin:2px 0 0}\
    .hide{display:none}}
    @media print{body{background:none}.card{break-inside:avoid}}

    """

  private static let plots = """
    svg{display:block;max-width:100%;height:auto;margin-top:10px}
    svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
    .tick{fill:var(--muted)}.label{fill:var(--muted)}.marklabel{fill:var(--ink)}
    .halo{paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
    line.grid{stroke:var(--soft);stroke-width:1}
    .axis{stroke:var(--muted);stroke-width:1}
    .bar{fill:var(--accent);fill-opacity:.75}.bar:hover{fill-opacity:1}
    .mark{stroke:var(--ink);stroke-width:1;stroke-dasharray:3 3;stroke-opacity:.7}
    .level{stroke:var(--ink);stroke-width:1;stroke-dasharray:5 3}.limitline{stroke:var(--bad)}
    .curve{fill:none;stroke:var(--accent);stroke-width:1.8;stroke-linejoin:round}
    .area{fill:var(--accent);fill-opacity:.12}
    .dot{fill:var(--accent)}
    .thread{fill:none;stroke-width:1.1;stroke-opacity:.4;stroke-linejoin:round}
    .stem{stroke-width:1.6;stroke-opacity:.3}
    .point{stroke:var(--card);stroke-width:.6}
    .seriesname{font-weight:600}
    .s0{stroke:var(--s0)}.s1{stroke:var(--s1)}.s2{stroke:var(--s2)}.s3{stroke:var(--s3)}.s4{stroke:var(--s4)}\
    .s5{stroke:var(--s5)}.s6{stroke:var(--s6)}.s7{stroke:var(--s7)}
    circle.s0,text.s0{fill:var(--s0)}circle.s1,text.s1{fill:var(--s1)}circle.s2,text.s2{fill:var(--s2)}\
    circle.s3,text.s3{fill:var(--s3)}circle.s4,text.s4{fill:var(--s4)}circle.s5,text.s5{fill:var(--s5)}\
    circle.s6,text.s6{fill:var(--s6)}circle.s7,text.s7{fill:var(--s7)}
    text.seriesname,circle.point{stroke:none}
    .h0{stroke:var(--badback)}.h1{stroke:var(--h1)}.h2{stroke:var(--h2)}.h3{stroke:var(--h3)}.h4{stroke:var(--h4)}\
    .h5{stroke:var(--h5)}.h6{stroke:var(--h6)}.h7{stroke:var(--h7)}.h8{stroke:var(--h8)}.h9{stroke:var(--h9)}
    .starved{fill:none;stroke:var(--bad);stroke-width:.8;pointer-events:none}.starved.wide{stroke-width:1.6}
    .cell,.oncell{pointer-events:none;fill:var(--ink)}.oncell{fill:var(--card)}
    circle.ring{fill:var(--card);stroke-width:1.4}

    """

  /// Sorts a table by a column when its title is pressed; without it the table is merely not sortable.
  static let script = """
    for (const table of document.querySelectorAll("table.sortable")) {
      const titles = [...table.tHead.rows[0].cells];
      titles.forEach((title, column) => {
        const button = document.createElement("button");
        button.append(...title.childNodes);
        title.append(button);
        button.addEventListener("click", () => {
          const sign = title.getAttribute("aria-sort") === "ascending" ? -1 : 1;
          const key = row => row.cells[column].dataset.v ?? row.cells[column].textContent;
          const number = text => text === "" ? -Infinity : Number(text);
          const numeric = title.classList.contains("n");
          const compare = (a, b) => numeric
            ? number(key(a)) - number(key(b)) : key(a).localeCompare(key(b), "en", {numeric: true});
          const rows = [...table.tBodies[0].rows].sort((a, b) => sign * compare(a, b));
          table.tBodies[0].append(...rows);
          titles.forEach(other => other.removeAttribute("aria-sort"));
          title.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
        });
      });
    }
    """
}
