package import CKernels
import Foundation

/// A set of processor instructions that the inner loops are compiled for.
///
/// The raw value is how the environment variable `QUANTIZE_ISA` names it.
public enum InstructionSet: String, Sendable, CaseIterable {
  case portable
  case avx2
  case avx512
  case neon

  /// Those that this processor has, portable first.
  public static var available: [InstructionSet] { allCases.filter(\.isAvailable) }

  /// The one that products use now: the forced one, or else the process's choice.
  ///
  /// The process chooses once: what `QUANTIZE_ISA` names, or the best available.
  public static var current: InstructionSet {
    if let forced { return forced }
    return allCases.first { $0.identifier == ck_current_isa() } ?? .portable
  }

  /// Whether this processor has it.
  public var isAvailable: Bool { ck_isa_available(identifier) != 0 }

  /// What a value of `QUANTIZE_ISA` asks for; `nil` where it asks for nothing.
  public static func requested(by value: String?) throws(InstructionSetError) -> InstructionSet? {
    guard let value, !value.isEmpty else { return nil }
    guard let named = InstructionSet(rawValue: value) else { throw .unknown(name: value) }
    guard named.isAvailable else { throw .unavailable(named) }
    return named
  }

  /// Refuses a `QUANTIZE_ISA` that cannot be honoured; a program calls this once before it computes.
  public static func checkEnvironment() throws(InstructionSetError) {
    _ = try requested(by: ProcessInfo.processInfo.environment["QUANTIZE_ISA"])
  }

  @TaskLocal private static var forced: InstructionSet?

  /// Runs the closure with this set as ``current`` for all products that the closure starts itself.
  ///
  /// Other threads and tasks keep theirs, so tests may run in parallel.
  ///
  /// - Precondition: the set is available.
  public func whileForced<Result>(_ body: () throws -> Result) rethrows -> Result {
    precondition(isAvailable, "this processor lacks \(rawValue)")
    return try Self.$forced.withValue(self, operation: body)
  }

  /// The inner loops.
  package var kernels: ck_kernels {
    guard let table = ck_kernels_of(identifier) else { preconditionFailure("this processor lacks \(rawValue)") }
    return table.pointee
  }

  var identifier: Int32 {
    switch self {
    case .portable: Int32(ck_isa_portable)
    case .avx2: Int32(ck_isa_avx2)
    case .avx512: Int32(ck_isa_avx512)
    case .neon: Int32(ck_isa_neon)
    }
  }
}

/// Why a value of `QUANTIZE_ISA` is refused.
public enum InstructionSetError: Error, Equatable, CustomStringConvertible {
  case unknown(name: String)
  case unavailable(InstructionSet)

  /// What was found and what would do.
  public var description: String {
    let available = InstructionSet.available.map(\.rawValue).joined(separator: ", ")
    return switch self {
    case .unknown(let name): "QUANTIZE_ISA names the unknown instruction set \"\(name)\", this machine has \(available)"
    case .unavailable(let set): "QUANTIZE_ISA names \(set.rawValue), which this machine lacks; it has \(available)"
    }
  }
}
