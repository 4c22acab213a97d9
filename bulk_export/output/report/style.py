"""How a report looks: light and dark, on a phone, on a screen and on paper. Colours keep a contrast of 4.5 to 1."""

from __future__ import annotations

_LIGHT = """
--page:#f6f7f9;--card:#fff;--ink:#1a1d23;--soft:#545b67;--line:#d5d9e0;--rail:#e6e9ef;--link:#1a56b0;
--one:#2563b8;--two:#0e8a72;--three:#b4540a;--four:#7d4bb5;--hold:#f3d9a5;--away:#f0c4c0;--gap:#e3e5ea;
--bad:#b3261e;--bad-back:#fdecea;--look:#8a4b00;--look-back:#fff4e0;--fine:#17693f;--fine-back:#e5f5ec;
"""
_DARK = """
--page:#12151a;--card:#1a1e25;--ink:#e8ebf0;--soft:#a9b1be;--line:#343b47;--rail:#2b313c;--link:#8ab8ff;
--one:#6ea8ff;--two:#45c9a9;--three:#f0a04b;--four:#bd93f0;--hold:#5b4314;--away:#5e2824;--gap:#2a2f39;
--bad:#ff9c94;--bad-back:#3a1a18;--look:#ffc170;--look-back:#36270f;--fine:#7bdca6;--fine-back:#12301f;
"""
_TONES = "".join(
    f".tone-{number}{{fill:var(--{name})}}.area-{number}{{fill:var(--{name});opacity:.22}}"
    f".line-{number}{{fill:none;stroke:var(--{name});stroke-width:2;vector-effect:non-scaling-stroke}}"
    for number, name in enumerate(("one", "two", "three", "four"), start=1)
)

STYLE = f"""
:root{{color-scheme:light dark;{_LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
*{{box-sizing:border-box}}
html{{-webkit-text-size-adjust:100%}}
body{{margin:0;background:var(--page);color:var(--ink);font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}}
header,main,footer{{max-width:62rem;margin:0 auto;padding:0 1rem}}
header{{padding-top:2rem}}
h1{{font-size:1.75rem;line-height:1.2;margin:0}}
header p{{margin:.35rem 0 1.25rem;color:var(--soft)}}
h2{{font-size:1.2rem;line-height:1.3;margin:0 0 .6rem}}
section{{margin:0 0 1.5rem}}
main>section[id],main>section:has(h2){{background:var(--card);border:1px solid var(--line);border-radius:.75rem;
padding:1.1rem 1.1rem .9rem}}
p{{margin:0 0 .8rem}}
a{{color:var(--link)}}
:focus-visible{{outline:3px solid var(--link);outline-offset:2px;border-radius:.25rem}}
.skip{{position:absolute;left:-100vw}}
.skip:focus{{left:1rem;top:.5rem;background:var(--card);padding:.4rem .8rem;z-index:1}}
.hidden{{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}}
.verdict{{display:flex;gap:.8rem;align-items:flex-start;border-radius:.75rem;border:1px solid;padding:.9rem 1.1rem}}
.verdict p{{margin:0;font-weight:600}}
.bad{{color:var(--bad)}}.look{{color:var(--look)}}.fine{{color:var(--fine)}}
.verdict.bad{{background:var(--bad-back)}}.verdict.look{{background:var(--look-back)}}
.verdict.fine{{background:var(--fine-back)}}
.sign{{flex:none;display:inline-grid;place-items:center;width:1.5rem;height:1.5rem;border-radius:50%;font-weight:700;
font-size:.95rem;border:2px solid currentColor;line-height:1}}
.findings{{list-style:none;margin:0;padding:0}}
.findings li{{display:flex;gap:.7rem;align-items:flex-start;padding:.3rem 0}}
.findings li>span:last-child{{color:var(--ink)}}
.tiles{{display:grid;grid-template-columns:repeat(auto-fit,minmax(7.2rem,1fr));gap:.75rem;margin:0}}
.tiles div{{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:.75rem .9rem}}
.tiles dt{{color:var(--soft);font-size:.85rem}}
.tiles dd{{margin:0;font-size:1.45rem;line-height:1.25;font-weight:650;font-variant-numeric:tabular-nums}}
.tiles .note,.note{{font-size:.85rem;font-weight:400;color:var(--soft)}}
.details{{display:grid;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));gap:.5rem 1.5rem;margin:0}}
.details dt{{color:var(--soft);font-size:.85rem}}
.details dd{{margin:0}}
nav ul{{display:flex;flex-wrap:wrap;gap:.4rem 1.1rem;list-style:none;margin:0 0 1.25rem;padding:0}}
nav a{{display:inline-block;padding:.2rem 0}}
figure{{margin:0 0 1.4rem}}
figcaption{{font-weight:600;margin-bottom:.4rem}}
.plot{{display:grid;grid-template-columns:auto 1fr;gap:.3rem .5rem}}
.plot>svg{{width:100%;height:9rem;display:block;overflow:visible}}
.axis-y,.axis-x{{display:flex;justify-content:space-between;color:var(--soft);font-size:.8rem;line-height:1;
font-variant-numeric:tabular-nums}}
.axis-y{{flex-direction:column;text-align:right;min-width:2.2rem;margin:-.4em 0}}
.axis-x{{grid-column:2;gap:.5rem;text-align:center}}
.axis-x :first-child{{text-align:left}}.axis-x :last-child:not(:first-child){{text-align:right}}
.legend{{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;list-style:none;margin:.5rem 0 .3rem;padding:0;font-size:.85rem}}
.legend svg{{width:.75rem;height:.75rem;margin-right:.4rem;vertical-align:-.05rem;border-radius:2px}}
.grid{{stroke:var(--line);stroke-width:1;vector-effect:non-scaling-stroke;fill:none}}
.mark{{stroke:var(--bad);stroke-width:2;vector-effect:non-scaling-stroke;fill:var(--bad)}}
.hold{{fill:var(--hold)}}.away{{fill:var(--away)}}.gap{{fill:var(--gap)}}.rail{{fill:var(--rail)}}
{_TONES}
.scroll{{overflow-x:auto;margin:0 0 .6rem;
background:linear-gradient(90deg,var(--card) 40%,transparent) 0 0/2.5rem 100% no-repeat local,
linear-gradient(270deg,var(--card) 40%,transparent) 100% 0/2.5rem 100% no-repeat local,
linear-gradient(90deg,var(--line),transparent) 0 0/.7rem 100% no-repeat scroll,
linear-gradient(270deg,var(--line),transparent) 100% 0/.7rem 100% no-repeat scroll}}
table{{border-collapse:collapse;width:100%;font-size:.9rem;overflow-wrap:break-word}}
caption{{text-align:left;font-weight:600;padding:.2rem 0 .4rem}}
th,td{{text-align:left;vertical-align:top;padding:.35rem .9rem .35rem 0;border-bottom:1px solid var(--line)}}
thead th{{color:var(--soft);font-weight:600;font-size:.82rem;vertical-align:bottom}}
tbody th{{font-weight:500}}
tr>:last-child{{padding-right:0}}
td:not(.number),th:has(bdi){{min-width:5.5rem}}
.wide :is(td,th[scope=row]),td:has(i:not(.span)){{white-space:nowrap;min-width:0}}
.number+:not(.number){{padding-left:.9rem}}
.number{{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap;overflow-wrap:normal}}
bdi{{font:.86em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}}
td i{{display:inline-block;width:5rem;height:.55rem;border-radius:3px;margin-right:.6rem;background:var(--rail)}}
td i[style]{{background:linear-gradient(90deg,var(--one) var(--of),var(--rail) 0)}}
td i.span{{display:block;width:100%;margin:.4rem 0 .2rem;
background:linear-gradient(90deg,var(--rail) var(--from),var(--one) 0 var(--of),var(--rail) 0)}}
summary{{cursor:pointer;color:var(--link);padding:.35rem 0}}
section>details{{border-top:1px solid var(--line)}}
section>details>summary{{font-weight:500}}
footer{{color:var(--soft);font-size:.85rem;padding-bottom:2rem}}
@media (max-width:40rem){{
header{{padding-top:1.25rem}}h1{{font-size:1.4rem}}
main>section[id],main>section:has(h2){{padding:.9rem .8rem .6rem;border-radius:.6rem}}
.tiles{{grid-template-columns:repeat(2,1fr);gap:.5rem}}.tiles dd{{font-size:1.2rem}}
.plot>svg{{height:7.5rem}}th,td{{padding-right:.6rem}}td i{{width:2.6rem;margin-right:.4rem}}table{{font-size:.85rem}}
}}
@media print{{
:root{{{_LIGHT}--page:#fff}}
body{{font-size:9.5pt}}header,main,footer{{max-width:none;padding:0}}
nav,.skip{{display:none}}a{{color:inherit;text-decoration:none}}
*{{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
details::details-content{{content-visibility:visible;display:block;height:auto}}
figure details{{display:none}}
section>details>summary{{list-style:none;color:inherit;font-weight:600}}
figure,tr,.tiles div,.verdict{{break-inside:avoid}}h2,figcaption,summary,caption{{break-after:avoid}}
main>section[id],main>section:has(h2){{border:0;border-top:1px solid var(--line);border-radius:0;padding:.6rem 0}}
.scroll{{overflow:visible;background:none}}.plot>svg{{height:6.5rem}}
}}
@media (prefers-contrast:more){{:root{{--soft:var(--ink);--line:var(--ink)}}}}
""".replace("\n", "")
