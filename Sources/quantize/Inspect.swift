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

  @Argument(help: "A model: folder, file, artifact, or org/name in the cache.")
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
    let quantization = try checkpoint.quantization()
    let rows = try checkpoint.weights.tensors.map { info in
      (info, scheme(of: info.name, quantization), try stored(info, checkpoint))
    }
    if work.json { try printJSON(checkpoint, rows) } else { try printText(checkpoint, rows) }
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

  private func scheme(of tensor: String, _ quantization: CompressedTensorsConfiguration?) -> String {
    let module = tensor.split(separator: ".").dropLast().joined(separator: ".")
    guard !tensor.hasSuffix(".bias"), !module.hasSuffix("norm") else { return "" }
    return quantization?.scheme(of: module)?.name ?? ""
  }

  private func stored(_ info: TensorInfo, _ checkpoint: Checkpoint) throws -> Int {
    if case .artifact(let artifact) = checkpoint.format { return try artifact.compressedByteCount(of: info.name) }
    return info.byteCount
  }

  private func digest(_ checkpoint: Checkpoint) throws -> String {
    if case .artifact(let artifact) = checkpoint.format { return try artifact.fileSHA256() }
    return try checkpoint.contentDigest()
  }

  private func printJSON(_ checkpoint: Checkpoint, _ rows: [(TensorInfo, String, Int)]) throws {
    print(
      JSONValue.object([
        "path": .string(checkpoint.name), "modelType": checkpoint.configuration["model_type"] ?? .null,
        "sha256": .string(try digest(checkpoint)), "checked": .bool(check),
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

  private func printText(_ checkpoint: Checkpoint, _ rows: [(TensorInfo, String, Int)]) throws {
    let bytes = rows.reduce(0) { $0 + $1.0.byteCount }
    let stored = rows.reduce(0) { $0 + $1.2 }
    print(checkpoint.name)
    print("  model type   \(checkpoint.configuration["model_type"]?.stringValue ?? "unknown")")
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
      print("  \(kind.0.padding(toLength: 24, withPad: " ", startingAt: 0)) \(kind.1) tensors, \(Output.size(kind.2))")
    }
    if case .artifact(let artifact) = checkpoint.format {
      for member in artifact.members { print("  member       \(member.name)  \(Output.size(member.byteCount))") }
    }
    guard tensors else { return }
    for (info, scheme, size) in rows {
      print("  \(info.name)  \(info.dtype.rawValue) \(info.shape)  \(size) bytes  \(scheme)")
    }
  }
}
