import ArgumentParser
import Checkpoints
import Foundation
import Pipeline
import Quantization
import StrictJSON
import Tensors

/// `quantize inspect PATH`.
struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what is inside a model: tensors, schemes, sizes, digests.",
    discussion: "With --check every byte is read and held against its digests; exit 7 if any is wrong.")

  @Argument(help: ModelHelp.any)
  var path: String

  @Flag(help: "Read and verify every byte.")
  var check = false

  @Flag(help: "List every tensor.")
  var tensors = false

  @OptionGroup(title: "General") var work: WorkOptions

  func run() throws {
    work.apply()
    let checkpoint: Checkpoint
    do throws(CheckpointError) {
      checkpoint = try Checkpoint(path, environment: ProcessInfo.processInfo.environment)
      if check { try verify(checkpoint) }
    } catch {
      // Asked whether a file is whole, a file that breaks its format is an answer, not a refused input.
      if check, case .malformed = error { throw Failure.checks(error.description) }
      throw error
    }
    let quantization = try StoredQuantization.of(checkpoint)
    let rows = try checkpoint.weights.tensors.map { info in
      (info, scheme(of: info.name, quantization), try stored(info, checkpoint))
    }
    if work.json {
      try printJSON(checkpoint, quantization, rows)
    } else {
      try printText(checkpoint, quantization, rows)
    }
  }

  private func verify(_ checkpoint: Checkpoint) throws(CheckpointError) {
    guard case .artifact(let artifact) = checkpoint.format else {
      for info in checkpoint.weights.tensors where info.dtype.isFullPrecision {
        if let index = try checkpoint.weights.tensor(info.name).firstNonFinite {
          throw CheckpointError.corrupt(
            file: checkpoint.name, part: "tensor \"\(info.name)\"", problem: "element \(index) is NaN or infinite")
        }
      }
      return
    }
    let progress = work.progress()
    try artifact.check { done, total in progress.show(ProgressEvent("check", done: done, of: total, "reading")) }
    progress.finish()
  }

  /// The scheme of the linear, or of the stack of experts, that a tensor is part of.
  private func scheme(of tensor: String, _ quantization: StoredQuantization?) -> String {
    guard let quantization, !tensor.hasSuffix(".bias") else { return "" }
    // gpt-oss puts _blocks and _scales after the name of a stack.
    let stacks = ["_blocks", "_scales"].filter(tensor.hasSuffix).map { String(tensor.dropLast($0.count)) }
    let module = tensor.split(separator: ".").dropLast().joined(separator: ".")
    return (stacks + [module]).lazy.compactMap { quantization.scheme(of: $0)?.name }.first ?? ""
  }

  private func stored(_ info: TensorInfo, _ checkpoint: Checkpoint) throws -> Int {
    if case .artifact(let artifact) = checkpoint.format { return try artifact.compressedByteCount(of: info.name) }
    return info.byteCount
  }

  private func digest(_ checkpoint: Checkpoint) throws -> String {
    if case .artifact(let artifact) = checkpoint.format { return try artifact.fileSHA256() }
    return try checkpoint.contentDigest()
  }

  private func printJSON(
    _ checkpoint: Checkpoint, _ quantization: StoredQuantization?, _ rows: [(TensorInfo, String, Int)]
  ) throws {
    print(
      JSONValue.object([
        "path": .string(checkpoint.name), "modelType": checkpoint.configuration["model_type"] ?? .null,
        "sha256": .string(try digest(checkpoint)), "checked": .bool(check),
        "quantization": quantization.map { .string($0.method) } ?? .null,
        "int8Activations": quantization?.activationChoice.map { choice in
          [
            "measured": .integer(choice.measured), "int8": .integer(choice.measured - choice.floats.count),
            "float": .array(choice.floats.map { .string($0) }),
          ]
        } ?? .null,
        "kvCache": quantization?.cache.map { .string($0.format.rawValue) } ?? .null,
        "tensors": .array(
          rows.map { info, scheme, stored in
            [
              "name": .string(info.name), "dtype": .string(info.dtype.rawValue),
              "shape": .array(info.shape.extents.map { .integer($0) }), "bytes": .integer(info.byteCount),
              "storedBytes": .integer(stored), "scheme": .string(scheme),
            ]
          }),
      ]).compactText)
  }

  private func printText(
    _ checkpoint: Checkpoint, _ quantization: StoredQuantization?, _ rows: [(TensorInfo, String, Int)]
  ) throws {
    let bytes = rows.reduce(0) { $0 + $1.0.byteCount }
    let stored = rows.reduce(0) { $0 + $1.2 }
    print(checkpoint.name)
    print("  model type   \(checkpoint.configuration["model_type"]?.stringValue ?? "unknown")")
    if let quantization { print("  quantized    \(quantization.method)") }
    if let cache = quantization?.cache { print("  kv cache     \(cache.format.rawValue), two scales a layer") }
    if let choice = quantization?.activationChoice {
      let int8 = choice.measured - choice.floats.count
      print("  activations  int8 for \(int8) of \(choice.measured) linears, as measured")
      if tensors { for name in choice.floats { print("  float input  \(name)") } }
    }
    print("  sha256       \(try digest(checkpoint))" + (check ? "  every byte checked" : ""))
    print(
      "  tensors      \(rows.count), \(Output.size(bytes))" + (stored < bytes ? ", \(Output.size(stored)) stored" : ""))
    var kinds: [(String, Int, Int)] = []
    for (info, scheme, size) in rows {
      let kind = scheme.isEmpty ? info.dtype.rawValue : "\(scheme) (\(info.dtype.rawValue))"
      if let index = kinds.firstIndex(where: { $0.0 == kind }) {
        kinds[index].1 += 1
        kinds[index].2 += size
      } else {
        kinds.append((kind, 1, size))
      }
    }
    for kind in kinds {
      let title = kind.0.padding(toLength: max(24, kind.0.count), withPad: " ", startingAt: 0)
      print("  \(title) \(kind.1) tensor\(kind.1 == 1 ? "" : "s"), \(Output.size(kind.2))")
    }
    for warning in quantization?.warnings ?? [] { print("  note         \(warning)") }
    if case .artifact(let artifact) = checkpoint.format {
      for member in artifact.members { print("  member       \(member.name)  \(Output.size(member.byteCount))") }
    }
    guard tensors else { return }
    for (info, scheme, size) in rows {
      print("  \(info.name)  \(info.dtype.rawValue) \(info.shape)  \(size) bytes  \(scheme)")
    }
  }
}
