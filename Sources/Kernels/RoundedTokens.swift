internal import CKernels
internal import Tensors

/// Activations rounded to int8, as integer products read them.
final class RoundedTokens: Sendable {
  /// Number of tokens.
  let count: Int
  /// Tokens that are multiplied at a time, and their bytes: all of them, unless few make it worth while to go over codes
  /// again that are in the cache.
  private let pieceCount: Int
  private let pieceBytes: Int
  private let kind: PackedMatrix.Kind
  private let groupSize: Int
  private let hasGains: Bool
  private let storage: TensorStorage

  /// Fewer tokens than this are multiplied four at a time: in one go weights would be expanded for too few (measured
  /// with AVX2: 8 tokens take a quarter longer then, 16 a sixth, 20 a twentieth).
  private static let fewestTiled = 24

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
    let pieceCount = x.rows < Self.fewestTiled ? min(x.rows, Int(ck_integer_direct_tokens)) : x.rows
    let tokenBytes = weight.withPanels { withUnsafePointer(to: $0) { ck_rounded_token_bytes($0) } }
    self.pieceCount = pieceCount
    pieceBytes = pieceCount * tokenBytes
    storage = weight.withPanels { panels in
      TensorStorage(byteCount: x.rows * tokenBytes) { bytes in
        x.values.withUnsafeBufferPointer { values in
          nonisolated(unsafe) let (panels, values) = (panels, values.baseAddress)
          nonisolated(unsafe) let rounded = bytes.assumingMemoryBound(to: UInt8.self).baseAddress
          if pieceCount < x.rows {
            for first in stride(from: 0, to: x.rows, by: pieceCount) {
              withUnsafePointer(to: panels) {
                kernels.round_tokens(
                  $0, values?.advanced(by: first * x.columns), min(pieceCount, x.rows - first), 0, 1,
                  rounded?.advanced(by: first * tokenBytes))
              }
            }
            return
          }
          let tiles = withUnsafePointer(to: kernels) { ck_integer_tile_count($0, x.rows) }
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

  /// What tasks read; good for as long as the tokens are.
  var borrowed: Borrowed {
    Borrowed(
      bytes: storage.bytes.assumingMemoryBound(to: UInt8.self).baseAddress, count: count, pieceCount: pieceCount,
      pieceBytes: pieceBytes)
  }

  /// Rounded tokens in an order of the kernels' own, uncounted.
  struct Borrowed: @unchecked Sendable {
    fileprivate let bytes: UnsafePointer<UInt8>?
    fileprivate let count: Int
    fileprivate let pieceCount: Int
    fileprivate let pieceBytes: Int

    /// Some panels of the product `[tokens, outFeatures]`.
    func multiply(
      _ panels: UnsafePointer<ck_panels>, _ range: Range<Int>, _ kernels: ck_integer_kernels,
      _ y: UnsafeMutablePointer<Float>, _ outFeatures: Int
    ) {
      var (first, piece) = (0, bytes)
      while first < count {
        kernels.product(
          panels, range.lowerBound, range.upperBound, piece, min(pieceCount, count - first), y + first * outFeatures,
          outFeatures)
        first += pieceCount
        piece = piece?.advanced(by: pieceBytes)
      }
    }
  }
}
