/// A place where channel scales can move from one op into the linears that read it, leaving the function unchanged.
///
/// The source's output channels are divided by s, and the columns of every linear that reads them are multiplied by s.
/// `linears` are all readers of the source. All names are within the layer.
public struct Fold: Sendable, Hashable {
  /// What is divided.
  public enum Source: Sendable, Hashable {
    /// The weight of a norm.
    case norm(String)
    /// Some output features of a linear.
    case rows(of: String, RowMap)
  }

  /// Which output feature of a source each input channel of its readers is.
  public enum RowMap: Sendable, Hashable {
    /// One for one, from a row on.
    case from(Int)
    /// Value heads of `dimension` rows from a row on, each read by `repeats` query heads in turn.
    case valueHeads(from: Int, dimension: Int, repeats: Int)
    /// The value rows of latent attention: each head has `plain` key rows, then `value` value rows.
    case latentValues(plain: Int, value: Int)

    /// The source's row behind an input channel of its readers.
    public func row(ofInput channel: Int) -> Int {
      switch self {
      case .from(let first): first + channel
      case .valueHeads(let first, let dimension, let repeats):
        first + channel / dimension / repeats * dimension + channel % dimension
      case .latentValues(let plain, let value): channel / value * (plain + value) + plain + channel % value
      }
    }
  }

  /// What is divided by the scales.
  public let source: Source
  /// What is multiplied.
  public let linears: [String]
  /// Where the loss is measured.
  public let block: LayerBlock
  /// The expert whose own fold this is.
  public let expert: Int?

  /// A fold.
  public init(_ source: Source, into linears: [String], block: LayerBlock, expert: Int? = nil) {
    self.source = source
    self.linears = linears
    self.block = block
    self.expert = expert
  }

  /// Name within the layer of what is divided.
  public var sourceName: String {
    switch source {
    case .norm(let name), .rows(let name, _): name
    }
  }

  /// Such as `input_layernorm → q_proj, k_proj, v_proj`; experts are counted, not listed.
  public var title: String {
    func last(_ name: String) -> String { String(name.split(separator: ".").last ?? "") }
    var parts: [String] = []
    for name in linears where !parts.contains(last(name)) { parts.append(last(name)) }
    let source = expert.map { "expert \($0): " } ?? ""
    return "\(source)\(last(sourceName)) → \(parts.joined(separator: ", "))"
  }
}
