import ArgumentParser
import Checkpoints
import Foundation
import Pipeline
import StrictJSON

/// `quantize convert IN -o OUT --to LAYOUT`.
struct Convert: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Spell a model's weights another way; nothing is calibrated or rounded anew.",
    discussion: """
      compressed-tensors keeps the codes of every linear that IN stores quantized, whatever the layout: AutoAWQ, GPTQ, \
      FP8 (blocks, rows, whole matrices), MXFP4, NVFP4, compressed-tensors, an artifact. The weights they stand for stay \
      the same bit for bit; a note says where ModelOpt's NVFP4 has scales that differ by one unit in the last place. A linear \
      whose codes cannot be spelled so is decoded, and a note says which and why.

      bf16, float16 and float32 decode everything to that type; float32 loses nothing. What corrects the choice of \
      experts stays F32. Experts that gpt-oss keeps as MXFP4 become one tensor a projection again.

      One linear is in memory at a time, or one tensor of stacked experts. What was begun is not resumed: when the \
      command is stopped, what it wrote is removed.

      EXAMPLES
        quantize convert ./llama-awq -o llama-ct/ --to compressed-tensors
        quantize convert ./deepseek-fp8 -o deepseek-bf16/ --to bf16
        quantize convert llama.tar.zst -o llama/ --to compressed-tensors
      """)

  @Argument(help: "A model: folder, safetensors file, artifact, or org/name in the cache.")
  var input: String

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("NAME.tar.zst, or NAME/ for a folder of the same files uncompressed.", valueName: "out"))
  var output: String

  @Option(
    help: ArgumentHelp(
      ConversionTarget.allCases.map(\.rawValue).joined(separator: ", ") + ".", valueName: "layout"))
  var to: String

  @Flag(help: "Replace an output that is there already.")
  var force = false

  @OptionGroup(title: "General") var work: WorkOptions

  func run() throws {
    work.apply()
    guard let target = ConversionTarget(rawValue: to.lowercased()) else {
      let known = ConversionTarget.allCases.map(\.rawValue).joined(separator: ", ")
      throw PipelineError.usage("--to \(to) is not known; known are \(known)")
    }
    try Output.check(output, force: force)
    let conversion = try Conversion(try ModelInputs.openModel(input), to: target)
    try Output.checkSpace(for: conversion.plan.byteCount, at: output)
    let progress = work.progress()
    for remark in conversion.remarks { progress.note(remark) }
    // A file stays until its successor is whole; a folder cannot be replaced so.
    if force && output.hasSuffix("/") { try Output.remove(output) }
    let summary = try conversion.write(to: output, progress: progress.show)
    progress.finish()
    let path = Output.trimmed(output)
    let (recoded, decoded) = conversion.counts
    if work.json {
      print(
        JSONValue.object([
          "path": .string(path), "to": .string(target.rawValue), "bytes": .integer(summary.byteCount),
          "sha256": .string(summary.sha256), "linearsRecoded": .integer(recoded), "linearsDecoded": .integer(decoded),
          "notes": .array(conversion.remarks.map { .string($0) }),
        ]).compactText)
    } else {
      print("\(path)  \(Output.size(summary.byteCount))  sha256 \(summary.sha256)")
      print("  \(recoded) linears with their codes, \(decoded) decoded")
    }
  }
}
