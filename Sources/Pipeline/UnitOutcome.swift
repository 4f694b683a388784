internal import Calibration
internal import Reports
internal import StrictJSON

/// What became of one unit beside its tensors; kept in the journal, so that a resumed run reports what the first found.
struct UnitOutcome {
  let unit: String
  let layer: Int?
  var folds: [FoldOutcome] = []
  var experts: ExpertUse?
  /// Kept tensors whose values folding changed.
  var folded: [String] = []
  /// How far two halves of the calibration text are apart; see ``LayerSession/halfDifference``.
  var halfDifference: Double?
  /// Whose inputs were measured.
  var activations: [MeasuredInput] = []

  /// What rounding the input of a linear to int8 costs, by the linear's full name.
  struct MeasuredInput {
    let linear: String
    let error: ActivationError
    let isInt8: Bool
  }

  init(unit: String, layer: Int?) {
    self.unit = unit
    self.layer = layer
  }

  /// Folds as the report lists them; those of experts are many and are summed up by their layer.
  var reportedFolds: [Report.Fold] {
    folds.map { fold in
      Report.Fold(
        name: "layer \(layer ?? 0)", kind: fold.title, layer: layer ?? 0, kept: fold.isKept, alpha: fold.alpha,
        lossWithout: fold.lossWithout, lossWith: fold.lossWith, reason: fold.reason)
    }
  }

  var json: JSONValue {
    var object: JSONObject = [
      "unit": .string(unit), "layer": layer.map { .integer($0) } ?? .null,
      "folds": .array(
        folds.map { fold in
          [
            "title": .string(fold.title), "kept": .bool(fold.isKept), "alpha": .real(fold.alpha),
            "lossWithout": .real(fold.lossWithout), "lossWith": .real(fold.lossWith),
            "reason": fold.reason.map { .string($0) } ?? .null,
          ]
        }),
      "folded": .array(folded.map { .string($0) }),
      "half_difference": halfDifference.map { .real($0) } ?? .null,
    ]
    if !activations.isEmpty {
      object["activations"] = .array(
        activations.map { input in
          [
            .string(input.linear), .bool(input.isInt8), .real(input.error.activations), .real(input.error.weights),
            .real(input.error.output),
          ]
        })
    }
    if let experts {
      object["experts"] = .array(experts.counts.map { .integer($0) })
      object["helped"] = .array(
        experts.helped.sorted { $0.key < $1.key }.map { expert, help in
          switch help {
          case .moreSamples(let tokens): [.integer(expert), "samples", .integer(tokens)]
          case .layerInput(let tokens): [.integer(expert), "input", .integer(tokens)]
          }
        })
    }
    return .object(object)
  }

  init(_ note: JSONValue) {
    unit = note["unit"]?.stringValue ?? ""
    layer = note["layer"]?.intValue
    folds = (note["folds"]?.arrayValue ?? []).map { fold in
      FoldOutcome(
        title: fold["title"]?.stringValue ?? "", isKept: fold["kept"]?.boolValue ?? false,
        alpha: fold["alpha"]?.doubleValue ?? 0, lossWithout: fold["lossWithout"]?.doubleValue ?? 0,
        lossWith: fold["lossWith"]?.doubleValue ?? 0, reason: fold["reason"]?.stringValue)
    }
    folded = (note["folded"]?.arrayValue ?? []).compactMap(\.stringValue)
    halfDifference = note["half_difference"]?.doubleValue
    activations = (note["activations"]?.arrayValue ?? []).compactMap { entry in
      guard let parts = entry.arrayValue, parts.count == 5, let linear = parts[0].stringValue,
        let isInt8 = parts[1].boolValue
      else { return nil }
      let sums = parts[2...].map { $0.doubleValue ?? 0 }
      return MeasuredInput(
        linear: linear, error: ActivationError(activations: sums[0], weights: sums[1], output: sums[2]), isInt8: isInt8)
    }
    guard let counts = note["experts"]?.arrayValue else { return }
    var use = ExpertUse(counts: counts.compactMap(\.intValue))
    for entry in note["helped"]?.arrayValue ?? [] {
      guard let parts = entry.arrayValue, parts.count == 3, let expert = parts[0].intValue,
        let tokens = parts[2].intValue
      else { continue }
      use.helped[expert] =
        parts[1].stringValue == "samples" ? .moreSamples(tokens: tokens) : .layerInput(tokens: tokens)
    }
    experts = use
  }
}
