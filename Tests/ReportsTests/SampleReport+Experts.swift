import TestSupport

@testable import Reports

extension SampleReport {
  /// The routed experts of a model: layers `dense ..< layers` with skewed routers; some experts are starved.
  static func mixture(layers: Int, dense: Int, experts: Int, tokens: Int, quota: Int) -> Report {
    var generator = SeededGenerator(seed: 11)
    var report = large()
    let block = "mlp"
    report.experts = Report.Experts(
      layers: (dense..<layers).map { index in
        let weights = (0..<experts).map { _ in (Double(generator.normal()) * 0.9).exponential }
        let total = weights.reduce(0, +)
        let counts = weights.map { Int($0 / total * Double(tokens)) }.enumerated().map {
          $0.offset % 97 == 5 && index % 7 == 3 ? 0 : $0.element
        }
        var layer = Report.Experts.Layer(
          name: "model.layers.\(index).\(block)", routedTokens: tokens / 8, tokens: counts, quota: quota)
        for expert in layer.starved {
          layer.help[expert] =
            counts[expert] == 0 ? .layerStatistics : .extraSamples(tokens: quota + counts[expert] % 9)
        }
        return layer
      })
    report.layers = linears(layers: layers, dense: dense, experts: experts, &generator)
    report.folds = folds(layers: layers, dense: dense, experts: experts)
    report.ledger = ledger(of: report.layers, layers: layers)
    return report
  }

  private static func linears(
    layers: Int, dense: Int, experts: Int, _ generator: inout SeededGenerator
  ) -> [Report.Layer] {
    let attention = ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"].map { "self_attn." + $0 }
    let projections = ["gate_proj", "up_proj", "down_proj"]
    return (0..<layers).flatMap { index in
      var kinds = attention
      if index < dense {
        kinds += projections.map { "mlp." + $0 }
      } else {
        kinds += (0..<experts).flatMap { expert in projections.map { "mlp.experts.\(expert)." + $0 } }
        kinds += projections.map { "mlp.shared_experts." + $0 }
      }
      return kinds.map { kind in
        let level = 19.0 + Double(kind.utf8.reduce(0) { $0 &+ Int($1) } % 5)
        let sqnr = level + Double(generator.normal()) * 0.7 - Double(index) * 0.03
        return Report.Layer(
          name: "model.layers.\(index).\(kind)", scheme: "W4A16_ASYM", bitsPerWeight: 4.15625, sqnr: sqnr,
          cosine: 1 - 0.5 * (-sqnr / 10).powerOfTen, roundToNearestSqnr: sqnr - 1.5)
      }
    }
  }

  private static func folds(layers: Int, dense: Int, experts: Int) -> [Report.Fold] {
    (dense..<layers).flatMap { index in
      (0..<experts).map { expert in
        Report.Fold(
          name: "model.layers.\(index).mlp.experts.\(expert).up_proj", kind: "up→down", layer: index,
          kept: expert % 50 != 9, alpha: 0.5, lossWithout: 0.01, lossWith: expert % 50 == 9 ? 0.011 : 0.008,
          reason: expert % 50 == 9 ? "no gain on held-out tokens" : nil)
      }
    }
  }

  private static func ledger(of linears: [Report.Layer], layers: Int) -> Report.Ledger? {
    var entries = linears.flatMap { layer -> [Report.Ledger.Entry] in
      [
        .init(
          layer.name + ".weight", .quantized(scheme: layer.scheme),
          written: ["packed", "scale", "zero_point", "shape"].map { layer.name + ".weight_" + $0 },
          bytesWritten: 7_600_000),
        .init(layer.name + ".weight_scale_inv", .quantized(scheme: layer.scheme)),
      ]
    }
    for index in 0..<layers {
      let name = "model.layers.\(index)."
      entries.append(
        .init(
          name + "input_layernorm.weight", .folded(), written: [name + "input_layernorm.weight"], bytesWritten: 14336))
      entries.append(
        .init(
          name + "mlp.gate.weight", .copied(reason: "routers stay in full precision"),
          written: [name + "mlp.gate.weight"], bytesWritten: 3_670_016))
      entries.append(.init(name + "self_attn.rotary_emb.inv_freq", .dropped(reason: "computed from config.json")))
    }
    return try? Report.Ledger(source: entries.map { ($0.name, 14_680_064) }, entries: entries)
  }
}
