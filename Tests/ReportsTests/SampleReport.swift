import StrictJSON
import TestSupport

@testable import Reports

/// Reports that were never measured, for tests of how reports look.
enum SampleReport {
  /// A small one whose every number is written here, so that files made from it can be compared byte for byte.
  static var small: Report {
    var report = Report(
      version: "quantize 0.1.0", seed: 17,
      reference: Report.Reference(name: "example/Tiny-1B", digest: "sha256:" + digest("a1"), scheme: "BF16"),
      candidate: Report.Candidate(
        name: "tiny-1b.w4a16.tar.zst", digest: "sha256:" + digest("b2"), format: "compressed-tensors pack-quantized"),
      machine: Report.Machine(
        cpu: "Example CPU", cores: 2, instructionSet: "avx2", blas: "OpenBLAS 0.3.21", memory: 16_000_000_000))
    report.accuracy = ComparisonSummary(
      tokens: 4096, windows: 8, referencePerplexity: Estimate(11.25, low: 9.5, high: 13.25),
      comparison: ComparisonSummary.Comparison(
        divergence: ComparisonSummary.Divergence(
          mean: Estimate(0.0275, low: 0.0251, high: 0.0302), median: Estimate(0.0081, low: 0.0075, high: 0.009),
          p90: Estimate(0.0625, low: 0.058, high: 0.07), p99: Estimate(0.31, low: 0.27, high: 0.38),
          p999: Estimate(1.25, low: 0.9, high: 2.5), max: Estimate(2.5)),
        perplexity: Estimate(11.42, low: 9.65, high: 13.45),
        perplexityRatio: Estimate(1.0151, low: 1.011, high: 1.0192),
        top1Agreement: Estimate(0.943, low: 0.938, high: 0.948),
        meanProbabilityChange: Estimate(-0.0035, low: -0.0045, high: -0.0025),
        rmsProbabilityChange: Estimate(0.042, low: 0.04, high: 0.045),
        distribution: DivergenceDistribution(
          histogram: histogram, windowMeans: [0.025, 0.031, 0.0225, 0.0285, 0.027, 0.029, 0.0305, 0.0265],
          positionMeans: [0.03, 0.0275, 0.026, 0.0265], positionsPerStretch: 128)))
    report.size = Report.Size(
      bytes: 812_345_678, bitsPerWeight: 5.25, weightsBitsPerWeight: 4.156, referenceBytes: 2_476_000_000)
    if let comparison = report.accuracy?.comparison {
      report.gate = Gate(maxKL: 0.03, maxPerplexityIncrease: 0.01, minTop1: 0.93).checks(of: comparison)
    }
    report.integrity = .intact(parts: 23)
    report.layers = [
      layer("model.layers.0.self_attn.q_proj", 24.5, 21), layer("model.layers.0.mlp.down_proj", 19.25, 18.5),
      layer("model.layers.1.self_attn.q_proj", 25, 23.75), layer("lm_head", nil, nil),
    ]
    report.folds = [
      Report.Fold(
        name: "model.layers.0.input_layernorm", kind: "norm→q,k,v", layer: 0, kept: true, alpha: 0.55,
        lossWithout: 0.0071, lossWith: 0.0052),
      Report.Fold(
        name: "model.layers.1.mlp.up_proj", kind: "up→down", layer: 1, kept: false, alpha: 0.25, lossWithout: 0.0118,
        lossWith: 0.0121, reason: "no gain on held-out tokens"),
    ]
    report.ledger = ledger
    report.recipe = ["scheme": "W4A16_ASYM", "method": "awq", "group_size": 128, "ignore": ["lm_head"]]
    report.calibration = Report.Calibration(
      source: "builtin", tokens: 65_536, samples: 128, digest: "sha256:" + digest("c3"),
      convergence: [.init(samples: 64, error: 0.0125), .init(samples: 128, error: 0.012)])
    report.text = Report.Text(
      source: "wiki.test.txt", tokens: 4104, windowLength: 512, digest: "sha256:" + digest("d4"))
    report.time = [
      Report.Stage(name: "calibrate", seconds: 41.5), Report.Stage(name: "quantize", seconds: 12.25),
      Report.Stage(name: "verify", seconds: 75),
    ]
    report.peakMemory = 1_900_000_000
    report.warnings = ["the calibration text and the text of the comparison are both Wikipedia"]
    return report
  }

  private static var ledger: Report.Ledger? {
    let entries: [(bytes: Int, entry: Report.Ledger.Entry)] = [
      (
        4096,
        .init(
          "model.embed_tokens.weight", .copied(), written: ["model.embed_tokens.weight"], bytesWritten: 4096)
      ),
      (
        128,
        .init(
          "model.layers.0.input_layernorm.weight", .folded(), written: ["model.layers.0.input_layernorm.weight"],
          bytesWritten: 128)
      ),
      (8192, quantized("model.layers.0.self_attn.q_proj")), (32768, quantized("model.layers.0.mlp.down_proj")),
      (8192, quantized("model.layers.1.self_attn.q_proj")),
      (64, .init("model.layers.1.self_attn.rotary_emb.inv_freq", .dropped(reason: "computed from config.json"))),
      (4096, .init("lm_head.weight", .dropped(reason: "tied to model.embed_tokens.weight"))),
    ]
    return try? Report.Ledger(source: entries.map { ($0.entry.name, $0.bytes) }, entries: entries.map(\.entry))
  }

  private static func quantized(_ linear: String) -> Report.Ledger.Entry {
    .init(
      linear + ".weight", .quantized(scheme: "W4A16_ASYM"),
      written: ["packed", "scale", "zero_point", "shape"].map { linear + ".weight_" + $0 }, bytesWritten: 2304)
  }

  private static func digest(_ pair: String) -> String { String(repeating: pair, count: 32) }

  private static func layer(_ name: String, _ sqnr: Double?, _ baseline: Double?) -> Report.Layer {
    Report.Layer(
      name: name, scheme: "W4A16_ASYM", bitsPerWeight: 4.15625, sqnr: sqnr, cosine: sqnr.map { 1 - 0.1 / $0 },
      roundToNearestSqnr: baseline)
  }

  private static var histogram: [Int] {
    var bins = [Int](repeating: 0, count: 88)
    for (offset, count) in [8, 56, 160, 360, 620, 812, 760, 560, 360, 200, 96, 56, 24, 14, 6, 4].enumerated() {
      bins[40 + 2 * offset] = count
    }
    return bins
  }

  /// A large one, of a model with 28 layers and 96 windows of text, to be looked at.
  static func large(passing: Bool = true) -> Report {
    var generator = SeededGenerator(seed: 3)
    var report = small
    report.reference.name = "Qwen/Qwen2.5-7B-Instruct"
    report.candidate.name = "Qwen2.5-7B-Instruct-W4A16-AWQ.tar.zst"
    var statistics = ComparisonStatistics(seed: 17)
    for _ in 0..<96 { statistics.add(window(&generator, scale: passing ? 1 : 1.9)) }
    report.accuracy = statistics.summary()
    if let comparison = report.accuracy?.comparison {
      report.gate = Gate(maxKL: 0.03, maxPerplexityIncrease: 0.01, minTop1: 0.92).checks(of: comparison)
    }
    report.integrity =
      passing
      ? .intact(parts: 341)
      : .corrupt(problems: [
        "tensor \"model.layers.9.mlp.up_proj.weight_packed\" has digest sha256:7c0f…, expected sha256:91ab…"
      ])
    report.size = Report.Size(
      bytes: 5_203_412_992, bitsPerWeight: 5.466, weightsBitsPerWeight: 4.156, referenceBytes: 15_231_233_024)
    report.layers = layers(&generator)
    report.folds = folds(&generator)
    report.text = Report.Text(
      source: "wiki.test.txt", tokens: 49_248, windowLength: 512, digest: report.text?.digest ?? "")
    report.time = [
      Report.Stage(name: "read", seconds: 21.3), Report.Stage(name: "calibrate", seconds: 1211),
      Report.Stage(name: "search", seconds: 402), Report.Stage(name: "round and write", seconds: 187),
      Report.Stage(name: "verify", seconds: 1630),
    ]
    report.peakMemory = 6_320_000_000
    report.machine.cpu = "AMD EPYC 9654"
    return report
  }

  private static func window(_ generator: inout SeededGenerator, scale: Double) -> TokenScores {
    let hardness = Double(generator.normal()) * 0.18
    return TokenScores(
      (0..<512).map { position in
        let loss = abs(Double(generator.normal()) * 1.6 + 1.9 + hardness)
        let early = 0.5 / (1 + Double(position) / 12)
        let divergence = (Double(generator.normal()) * 1.75 - 5.3 + hardness + early).exponential * scale
        let step = Double(generator.normal()) * (2 * divergence).squareRoot() * 0.6
        let agrees = Double.random(in: 0..<1, using: &generator) > min(0.7, 0.32 * divergence.squareRoot())
        return TokenScore(
          referenceLoss: loss,
          candidate: TokenScore.Candidate(
            divergence: divergence, loss: max(0.0001, loss + divergence * 0.25 + step * 0.5), agrees: agrees))
      })
  }

  private static func layers(_ generator: inout SeededGenerator) -> [Report.Layer] {
    let kinds: [(String, Double)] = [
      ("self_attn.q_proj", 24), ("self_attn.k_proj", 25.5), ("self_attn.v_proj", 21.5), ("self_attn.o_proj", 19.5),
      ("mlp.gate_proj", 20.5), ("mlp.up_proj", 19), ("mlp.down_proj", 17.5),
    ]
    return (0..<28).flatMap { index in
      kinds.map { kind, level in
        var sqnr = level + Double(generator.normal()) * 0.5 + (index < 2 ? 3.5 : 0) - Double(index) * 0.06
        if index == 26 && kind == "mlp.down_proj" { sqnr -= 5.5 }
        let gain = max(-0.3, 2.2 + Double(generator.normal()) * 0.9)
        return Report.Layer(
          name: "model.layers.\(index).\(kind)", scheme: "W4A16_ASYM", bitsPerWeight: 4.15625, sqnr: sqnr,
          cosine: 1 - 0.5 * (-sqnr / 10).powerOfTen, roundToNearestSqnr: sqnr - gain)
      }
    }
  }

  private static func folds(_ generator: inout SeededGenerator) -> [Report.Fold] {
    let kinds = [
      ("input_layernorm", "norm→q,k,v"), ("post_attention_layernorm", "norm→gate,up"), ("mlp.up_proj", "up→down"),
    ]
    return (0..<28).flatMap { index in
      kinds.map { operation, kind in
        let without = 0.008 + abs(Double(generator.normal())) * 0.003
        let kept = Double.random(in: 0..<1, using: &generator) > 0.05
        return Report.Fold(
          name: "model.layers.\(index).\(operation)", kind: kind, layer: index, kept: kept,
          alpha: Double(Int.random(in: 5...16, using: &generator)) / 20, lossWithout: without,
          lossWith: without * (kept ? 0.72 : 1.04), reason: kept ? nil : "worse than plain rounding on held-out tokens")
      }
    }
  }
}
