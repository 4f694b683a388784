import Foundation
import StrictJSON
import Testing

@testable import Reports

@Suite struct HTMLReportTests {
  @Test func `tags are balanced and nothing is loaded from elsewhere`() throws {
    let mixture = SampleReport.mixture(layers: 6, dense: 1, experts: 16, tokens: 9000, quota: 128)
    for report in [SampleReport.small, SampleReport.large(), SampleReport.large(passing: false), mixture] {
      let page = report.html()
      let names = try WellFormed.check(page)
      #expect(names.count { $0 == "script" } == 1 && names.count { $0 == "style" } == 1)
      for forbidden in [
        "link", "img", "iframe", "object", "embed", "base", "form", "a", "image", "use", "foreignObject",
      ] {
        #expect(!names.contains(forbidden), "<\(forbidden)>")
      }
      for forbidden in ["http:", "https:", "url(", "@import", "src=", "href=", "NaN", "nan%", "inf%"] {
        #expect(!page.contains(forbidden), "\(forbidden)")
      }
    }
  }

  @Test func `the page is the same every time`() {
    #expect(SampleReport.large().html() == SampleReport.large().html())
  }

  @Test func `every plot says how to read it and every axis has a label`() throws {
    let page = SampleReport.large().html()
    #expect(page.components(separatedBy: "<figure").count == page.components(separatedBy: "<figcaption").count)
    for label in [
      "KL divergence of a token, nats (log scale)", "share of tokens, %", "window, in the order of the text",
      "mean KL divergence, nats", "position in the window, tokens", "decoder layer",
      "SQNR of the layer&#39;s output, dB (higher is better)",
    ] {
      #expect(page.contains(label), "\(label)")
    }
    #expect(page.contains("<title>model.layers.26.mlp.down_proj, "))
  }

  @Test func `hostile names stay text`() throws {
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=y> `a` | b\u{0}\u{202E}&lt; ]]> @team #1\nnew"
    var report = SampleReport.small
    report.version = hostile
    report.reference = Report.Reference(name: hostile, digest: hostile, scheme: hostile)
    report.candidate = Report.Candidate(name: hostile, digest: hostile, format: hostile)
    report.layers = (0..<20).map {
      Report.Layer(
        name: "model.layers.\($0).\(hostile)", scheme: hostile, bitsPerWeight: 4, sqnr: 20, cosine: 0.99,
        roundToNearestSqnr: 19)
    }
    report.folds[1].name = hostile
    report.folds[1].reason = hostile
    report.layers += (0..<3).map {
      Report.Layer(
        name: "model.layers.0.\(hostile).experts.\($0).\(hostile)", scheme: hostile, bitsPerWeight: 4, sqnr: 20,
        cosine: 0.99)
    }
    report.experts = Report.Experts(layers: [.init(name: hostile, routedTokens: 9, tokens: [3, 0], quota: 2)])
    report.ledger = try Report.Ledger(
      source: [(hostile, 1), (hostile + ".1", 1)],
      entries: [.init(hostile, .dropped(reason: hostile)), .init(hostile + ".1", .quantized(scheme: hostile))])
    report.recipe = ["name": .string(hostile)]
    report.calibration?.source = hostile
    report.text?.source = hostile
    report.machine.cpu = hostile
    report.time = [Report.Stage(name: hostile, seconds: 1)]
    report.warnings = [hostile]
    report.integrity = .corrupt(problems: [hostile])
    let names = try WellFormed.check(report.html())
    #expect(names.count { $0 == "script" } == 1 && !names.contains("img"))
    let cases = try WellFormed.check(report.junit())
    #expect(!cases.contains("script"))
    for text in [report.html(), report.junit(), report.markdown()] {
      #expect(!text.unicodeScalars.contains("\u{202E}") && !text.unicodeScalars.contains("\u{0}"))
    }
    for line in report.markdown().split(separator: "\n") where line.hasPrefix("|") {
      let bars = line.replacing("\\|", with: "").count { $0 == "|" }
      #expect([5, 6].contains(bars), "\(line)")
    }
    #expect(try Report(json: JSONValue(parsing: report.json().prettyText.utf8)) == report)
  }

  @Test func `foreign text in Markdown`() {
    #expect(Report.code("plain") == "`plain`")
    #expect(Report.code("a`b``c") == "``` a`b``c ```")
    #expect(Report.code("a|b\nc") == "`a\\|b c`")
    #expect(Report.plain("*a* <b> [c](d) @e") == "\\*a\\* &lt;b&gt; \\[c\\](d) @\u{2060}e")
  }

  @Test func `experts of a layer share one mark, the median with a stem to the worst`() {
    let layers = (0..<64).map {
      Report.Layer(
        name: "model.layers.3.mlp.experts.\($0).down_proj", scheme: "s", bitsPerWeight: 4, sqnr: 20 + Double($0),
        cosine: nil)
    }
    #expect(LayerPlot(layers).series.isEmpty)
    let plot = LayerPlot(layers, experts: true)
    #expect(plot.series.count == 1 && plot.series[0].points.count == 1)
    let point = plot.series[0].points[0]
    #expect(point.sqnr == 51.5 && point.stem == 20)
    #expect(
      point.title == "model.layers.3.mlp.experts.*.down_proj, 64 experts: median 51.5 dB, lowest 20.0 dB in "
        + "model.layers.3.mlp.experts.0.down_proj")
  }

  @Test func `experts of a layer share one row that names the worst`() {
    let layers = [30.0, 22, 26].enumerated().map {
      Report.Layer(
        name: "model.layers.0.mlp.experts.\($0).up_proj", scheme: $0 == 0 ? "W8A16" : "W4A16", bitsPerWeight: 4,
        sqnr: $1, cosine: 0.9 + Double($0) / 100, roundToNearestSqnr: $1 - 2)
    }
    let dense = Report.Layer(name: "lm_head", scheme: "W8A16", bitsPerWeight: 8, sqnr: nil, cosine: nil)
    let rows = LayerRow.rows(of: layers + [dense])
    #expect(rows.map(\.name) == ["model.layers.0.mlp.experts.*.up_proj", "lm_head"])
    #expect(rows[0].sqnr == 26 && rows[0].worst == layers[1] && rows[0].gain == 2 && rows[0].cosine == 0.9)
    #expect(rows[0].schemes == "W8A16, W4A16" && rows[1].sqnr == nil && rows[1].worst == nil)
    #expect(LayerRow.rows(of: Array(layers.prefix(1))).map(\.name) == ["model.layers.0.mlp.experts.0.up_proj"])
    var report = SampleReport.small
    report.layers = layers
    let cell = #"title="model.layers.0.mlp.experts.1.up_proj" data-v="22.0">22.0<span class="sub"> expert 1</span>"#
    #expect(report.html().contains(cell))
  }

  @Test func `the page of a very large mixture stays under two megabytes`() throws {
    let report = SampleReport.mixture(layers: 61, dense: 3, experts: 256, tokens: 524_288, quota: 128)
    #expect(report.layers.count > 44_000)
    let page = report.html()
    #expect(page.utf8.count < 2_000_000, "\(page.utf8.count)")
    #expect(report.markdown().utf8.count < 60_000)
    #expect(
      page.contains("model.<wbr/>layers.<wbr/>{3-60}.<wbr/>mlp.<wbr/>experts.<wbr/>{0-255}.<wbr/>up_proj.<wbr/>weight"))
    #expect(page.components(separatedBy: ", expert ").count > 58 * 256)
  }

  @Test func `exact linears are called exact and do not flatten the others`() throws {
    let layers = [20.0, 25, 200].enumerated().map {
      Report.Layer(
        name: "model.layers.\($0).mlp.down_proj", scheme: "s", bitsPerWeight: 4, sqnr: $1, cosine: 1)
    }
    let drawing = LayerPlot(layers).drawing(width: 500).markup(label: "")
    #expect(drawing.contains("down_proj, exact<"))
    #expect(drawing.contains(">26</text>") && !drawing.contains(">100</text>"))
    try WellFormed.check(LayerPlot([layers[2]]).drawing(width: 500).markup(label: ""))
  }

  @Test func `scales have round ticks`() {
    #expect(
      PlotScale(0...0.041, to: 0, 100).ticks(4).map { NumberText.trimmed(NumberText.significant($0)) } == [
        "0", "0.02", "0.04",
      ])
    #expect(PlotScale(-0.5...27.5, to: 0, 100).wholeTicks(6) == [0, 5, 10, 15, 20, 25])
    #expect(PlotScale(3...3, to: 0, 100)(3) == 50)
    #expect(PlotScale.roundedUp(0.0345) == 0.04 && PlotScale.roundedUp(0) == 1)
  }

  @Test(.enabled(if: ProcessInfo.processInfo.environment["QUANTIZE_SAMPLE_REPORT"] != nil))
  func `sample pages are written to be looked at`() throws {
    let folder = try #require(ProcessInfo.processInfo.environment["QUANTIZE_SAMPLE_REPORT"])
    let samples = [
      ("passed", SampleReport.large()), ("failed", SampleReport.large(passing: false)), ("small", SampleReport.small),
      ("mixtral", SampleReport.mixture(layers: 2, dense: 0, experts: 8, tokens: 9000, quota: 600)),
      ("deepseek", SampleReport.mixture(layers: 61, dense: 3, experts: 256, tokens: 524_288, quota: 128)),
    ]
    for (name, report) in samples {
      try report.html().write(toFile: "\(folder)/\(name).html", atomically: true, encoding: .utf8)
      try report.markdown().write(toFile: "\(folder)/\(name).md", atomically: true, encoding: .utf8)
    }
  }
}
