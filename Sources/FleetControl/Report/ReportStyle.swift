/// How the page looks, on a screen and on paper. No meaning is carried by colour alone: words say it, and bars differ in
/// height.
enum ReportStyle {
    static let css = """
        :root { color: #16202b; background: #fff; font: 13px/1.45 "Helvetica Neue", Arial, "Liberation Sans", "DejaVu Sans", sans-serif; }
        body { margin: 0 auto; padding: 24px 28px; max-width: 1240px; }
        header { border-bottom: 3px solid #16202b; margin-bottom: 20px; padding-bottom: 10px; }
        h1 { font-size: 24px; margin: 0 0 10px; letter-spacing: -0.01em; }
        h2 { font-size: 17px; margin: 34px 0 8px; padding-bottom: 4px; border-bottom: 1px solid #8a97a6; }
        h3 { font-size: 14px; margin: 20px 0 6px; }
        p { margin: 6px 0 10px; max-width: 90ch; }
        dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 8px 0; }
        dl.facts dt { color: #4a5868; }
        dl.facts dd { margin: 0; overflow-wrap: anywhere; }
        dl.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 10px; margin: 12px 0; }
        dl.figures div { border: 1px solid #b6c0cb; border-top: 3px solid #2c4a6b; padding: 8px 12px; }
        dl.figures dt { color: #4a5868; font-size: 12px; }
        dl.figures dd { margin: 2px 0 0; font-size: 18px; font-weight: 600; font-variant-numeric: tabular-nums; }
        ul.concerns { margin: 6px 0; padding-left: 18px; }
        ul.concerns li { margin: 3px 0; }
        table { border-collapse: collapse; width: 100%; margin: 10px 0 18px; font-variant-numeric: tabular-nums; }
        caption { text-align: left; color: #4a5868; padding: 4px 0; }
        th, td { text-align: left; vertical-align: top; padding: 3px 9px 3px 0; border-bottom: 1px solid #dde3e9; overflow-wrap: anywhere; min-width: 8ch; }
        thead th { border-bottom: 1.5px solid #16202b; font-weight: 600; overflow-wrap: normal; }
        td.n, th.n { text-align: right; min-width: 0; padding-right: 14px; }
        td.n, td.t { white-space: nowrap; }
        td.c { min-width: 14ch; }
        tbody th { font-weight: 600; }
        table.dense { font-size: 11px; }
        table.dense th, table.dense td { padding: 1px 8px 1px 0; min-width: 0; overflow-wrap: break-word; }
        table.days td, table.days th { vertical-align: middle; padding-top: 1px; padding-bottom: 1px; }
        table.days th:first-child { min-width: 110px; }
        table.days td:nth-child(2) { white-space: nowrap; }
        th.strip, td.strip { width: 760px; padding-right: 0; }
        div.wide { overflow-x: auto; }
        figure { margin: 12px 0; }
        figcaption { color: #4a5868; padding: 4px 0; }
        figure svg { width: 100%; }
        svg { display: block; max-width: 100%; height: auto; }
        svg text { font: 11px "Helvetica Neue", Arial, "Liberation Sans", "DejaVu Sans", sans-serif; fill: #16202b; }
        .met { fill: #7f9cba; } .missed { fill: #9c1c12; } .free { fill: #8a97a6; }
        .line { fill: none; stroke: #2c4a6b; stroke-width: 2; } .grid { stroke: #dde3e9; stroke-width: 1; }
        .axis { stroke: #16202b; stroke-width: 1; } .proven { fill: none; stroke: #2c4a6b; stroke-width: 1.5; }
        .failed { fill: none; stroke: #9c1c12; stroke-width: 2; }
        .legend { display: flex; flex-wrap: wrap; gap: 4px 22px; margin: 6px 0; padding: 0; list-style: none; }
        .legend li { display: flex; align-items: center; gap: 6px; }
        @media screen and (max-width: 1200px) {
          body { padding: 20px; }
          th, td { padding-right: 6px; } td.n, th.n { padding-right: 10px; } td.c { min-width: 10ch; }
          table.dense th, table.dense td { padding-right: 5px; }
        }
        @page { size: A4 landscape; margin: 12mm 12mm 14mm; @bottom-right { content: "Page " counter(page) " of " counter(pages); font: 9px sans-serif; } @bottom-left { content: "Audit report of the etcd backup fleet"; font: 9px sans-serif; } }
        @media print {
          :root { font-size: 10px; }
          body { padding: 0; max-width: none; }
          h1 { font-size: 19px; } h2 { font-size: 14px; } h3 { font-size: 12px; }
          table.dense { font-size: 7.5px; }
          h2, h3, caption { break-after: avoid; }
          tr, svg, dl.facts, dl.figures div { break-inside: avoid; }
          thead { display: table-header-group; }
          th.strip, td.strip { width: 640px; }
          div.wide { overflow: visible; }
          * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
        }

        """
}
