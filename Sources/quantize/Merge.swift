import ArgumentParser
import Checkpoints
import Foundation
import Pipeline
import StrictJSON

/// `quantize merge MODEL --adapter DIR -o OUT`.
struct Merge: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Merge a LoRA adapter into its base model.",
    discussion: """
      Reads adapters of PEFT: LoRA, rsLoRA and DoRA, with rank and alpha patterns. One tensor at a time is in memory. \
      The result is a model like its base, in full precision, to be quantized or run.

      EXAMPLES
        quantize merge ./llama --adapter ./my-lora -o merged/
        quantize merge ./llama --adapter ./my-lora -o merged/ --dtype base
      """)

  @Argument(help: "The base: a folder, a safetensors file, or org/name in the Hugging Face cache.")
  var model: String

  @Option(
    help: ArgumentHelp("A folder with adapter_config.json and adapter_model.safetensors.", valueName: "dir"))
  var adapter: String

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("NAME/ for a folder, or NAME.tar.zst for an artifact.", valueName: "out"))
  var output: String

  @Option(
    help: ArgumentHelp(
      "float32 keeps every bit of the sums; base rounds changed tensors to the base's type.", valueName: "type"))
  var dtype = ElementType.float32

  /// ``MergedModel/ElementType`` as an argument.
  enum ElementType: String, CaseIterable, ExpressibleByArgument {
    case float32, base

    var stored: MergedModel.ElementType {
      switch self {
      case .float32: .float32
      case .base: .base
      }
    }
  }

  @Flag(help: "Replace an output that is there already.")
  var force = false

  @OptionGroup(title: "General") var work: WorkOptions

  func run() throws {
    work.apply()
    try Output.check(output, force: force)
    let base = try Checkpoint(model, environment: ProcessInfo.processInfo.environment)
    let merged = try MergedModel(base, adapter: try Adapter(folder: adapter), elementType: dtype.stored)
    try Output.checkSpace(for: merged.byteCount, at: output)
    let progress = work.progress()
    for warning in merged.checkpoint.adapterWarnings { progress.note(warning) }
    if force && output.hasSuffix("/") { try Output.remove(output) }
    let count = merged.plan.tensors.count
    let summary = try merged.write(to: output) { index, info in
      try Interruption.check("stopped while merging; what was written is removed")
      progress.show(ProgressEvent("merge", done: index, of: count, info.name))
    }
    progress.finish()
    let path = Output.trimmed(output)
    if work.json {
      print(
        JSONValue.object([
          "path": .string(path), "bytes": .integer(summary.byteCount), "sha256": .string(summary.sha256),
          "dtype": .string(dtype.rawValue),
        ]).compactText)
    } else {
      print("\(path)  \(Output.size(summary.byteCount))  sha256 \(summary.sha256)")
    }
  }
}
