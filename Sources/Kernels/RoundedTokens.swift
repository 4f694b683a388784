internal import CKernels
internal import Tensors

/// Activations rounded to int8, as integer products read them.
final class RoundedTokens: Sendable {
  /// Number of tokens.
  let count: Int
  private let kind: PackedMatrix.Kind
  private let groupSize: Int
  private let hasGains: Bool
  private let storage: TensorStorage

  /// Rounds `[tokens, inFeatures]` for products with a weight by the same kernels.
  init(_ x: Matrix, for weight: PackedMatrix, _ kernels: ck_integer_kernels) {
    precondition(
      weight.hasIntegerProduct, "\(weight.kind) codes in groups of \(weight.groupSize) have no integer product")
    precondition(
      x.columns == weight.inFeatures, "\(x.rows) × \(x.columns) times \(weight.outFeatures) × \(weight.inFeatures)")
    let x = weight.columns?.extended(x) ?? x
    count = x.rows
    kind = weight.kind
    groupSize = weight.groupSize
    hasGains = weight.columns != nil
    storage = weight.withPanels { panels in
      let (tokenBytes, tiles) = withUnsafePointer(to: panels) { panels in
        withUnsafePointer(to: kernels) { (ck_rounded_token_bytes(panels), ck_integer_tile_count($0, x.rows)) }
      }
      return TensorStorage(byteCount: x.rows * tokenBytes) { bytes in
        x.values.withUnsafeBufferPointer { values in
          nonisolated(unsafe) let (panels, values) = (panels, values.baseAddress)
          nonisolated(unsafe) let rounded = bytes.assumingMemoryBound(to: UInt8.self).baseAddress
          Parallel.forEachChunk(of: tiles, size: 4) { tiles in
            withUnsafePointer(to: panels) {
              kernels.round_tokens($0, values, x.rows, tiles.lowerBound, tiles.upperBound, rounded)
            }
          }
        }
      }
    }
  }

  /// Whether they are what a weight of as many input features is multiplied with.
  func serves(_ weight: PackedMatrix) -> Bool {
    !hasGains && weight.columns == nil && weight.kind == kind && weight.groupSize == groupSize
  }

  /// In an order of the kernels' own.
  var bytes: UnsafePointer<UInt8>? { storage.bytes.assumingMemoryBound(to: UInt8.self).baseAddress }
}
