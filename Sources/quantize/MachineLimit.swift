import CKernels
import Kernels

/// Mixes of instructions that kernels are made of, run on registers by all threads: no kernel is faster.
enum MachineLimit: CaseIterable {
  case float
  case uint4
  case int8
  case bfloat16

  /// What the table calls it.
  var title: String {
    switch self {
    case .float: "limit, float"
    case .uint4: "limit, int4 × int8"
    case .int8: "limit, int8 × int8"
    case .bfloat16: "limit, BF16"
    }
  }

  /// Runs for some milliseconds and returns how many multiply-adds that were; `nil` where the instruction set has no such mix.
  func run() -> Double? {
    let set = ck_current_isa()
    let mix =
      switch self {
      case .float: ck_limit_float
      case .uint4: ck_limit_uint4
      case .int8: ck_limit_int8
      case .bfloat16: ck_limit_bf16
      }
    let one = ck_run_limit(set, mix, 1)
    guard one > 0 else { return nil }
    // More tasks than threads, so that one that is held up holds up little.
    let (rounds, tasks) = (50_000, Parallel.threads * 16)
    Parallel.forEach(tasks) { _ in _ = ck_run_limit(set, mix, rounds) }
    return one * Double(rounds * tasks)
  }

  /// Reads the codes of a weight, by all threads, and does nothing else.
  static func read(_ weight: PackedMatrix) {
    weight.withPanels { panels in
      nonisolated(unsafe) let codes = panels.codes
      let count = ck_panel_count(panels.out) * ck_panel_code_bytes(panels.kind, panels.in)
      Parallel.forEachRange(of: count, size: 1 << 19) { range in
        guard let codes else { return }
        _ = ck_read_bytes(codes + range.lowerBound, range.count)
      }
    }
  }
}
