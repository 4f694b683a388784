internal import Calibration
internal import Checkpoints
internal import Foundation
internal import Quantization
internal import Tensors

/// What an artifact will take, as far as that can be said before anything is measured.
public enum ExpectedSize: Sendable, Equatable {
  /// Bytes of all tensors, before compression.
  case uncompressed(Int)
  /// About so many bytes at so many bits a weight.
  case about(Int, bitsPerWeight: Double)
  /// At most so many bytes, as was asked for; about so many bits a weight are left for what is coded.
  case atMost(Int, bitsPerWeight: Double)
  /// Not known before rates are measured; at the bits of a whole code, so many bytes.
  case unknown(atEightBits: Int)
}

extension QuantizationPlan {
  /// The linears that are entropy-coded.
  var entropyCoded: [LinearPlan] { linears.filter { $0.scheme?.isEntropyCoded ?? false } }

  /// About what the artifact takes beside the codes of entropy-coded linears, in bytes.
  ///
  /// - Parameter members: the files beside the weights.
  func uncodedByteCount(members: [ArtifactPlan.Member]) -> Int {
    let coded = Set(entropyCoded.map(\.name))
    let kept = tensors.filter { tensor in
      let name = tensor.info.name
      return name.range(of: ".weight_").map { !coded.contains(String(name[..<$0.lowerBound])) } ?? true
    }
    // Floats lose a fifth, text two thirds (Compression.swift); headers are small beside them.
    let keptBytes = kept.reduce(0) { $0 + $1.info.byteCount } * 4 / 5
    let memberBytes = members.reduce(0) { $0 + $1.bytes.count } / 3
    return keptBytes + memberBytes + 64 * tensors.count
  }

  /// What the artifact is expected to take at a rate; `nil` is no rate.
  ///
  /// Both ends of the model are taken for linears like the others; how they fare, sensitivities decide.
  func expectedSize(at rate: Rate?, members: [ArtifactPlan.Member], isCompressed: Bool) throws -> ExpectedSize {
    let coded = entropyCoded
    // A folder holds whole codes, whatever their entropy.
    guard let rate, !coded.isEmpty, isCompressed else { return .uncompressed(byteCount) }
    let uncoded = uncodedByteCount(members: members)
    let sideBytes = uncoded + coded.reduce(0) { $0 + RateAllocation.sideBytes(inFeatures: $1.inFeatures) }
    let weights = Double(coded.reduce(0) { $0 + $1.outFeatures * $1.inFeatures })
    func bytes(_ bits: Double) -> Int { sideBytes + Int(weights * bits / 8 * RateAllocation.overhead) }
    switch rate {
    case .bits(let bits): return .about(bytes(bits), bitsPerWeight: bits)
    case .bytes(let target):
      try RateAllocation.require(target, above: uncoded)
      return .atMost(
        target, bitsPerWeight: max(0, Double(target - sideBytes)) * 8 / RateAllocation.overhead / max(1, weights))
    case .divergence: return .unknown(atEightBits: bytes(8))
    }
  }
}
