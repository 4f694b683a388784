import ArgumentParser
import Foundation
import Kernels
import Pipeline
import Reports

/// Options of every command that works for long.
struct WorkOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Threads to use; results do not depend on it.", valueName: "n"))
  var threads: Int?

  @Flag(help: "Print the result as JSON, and progress as one line of JSON for each event.")
  var json = false

  @Flag(name: .shortAndLong, help: "No progress.")
  var quiet = false

  func validate() throws {
    if let threads, !(1...4096).contains(threads) { throw ValidationError("--threads takes 1 to 4096") }
  }

  /// Applies the options; called first in every command.
  func apply() { if let threads { Parallel.threads = threads } }

  /// Where events go.
  func progress() -> Progress { Progress(json: json, quiet: quiet) }
}

/// What MODEL may be, said the same way by every command.
enum ModelHelp {
  static let source = ArgumentHelp(
    "A folder, a safetensors file, an artifact, or org/name in the Hugging Face cache.")
  static let any = ArgumentHelp("A model: folder, safetensors file, artifact, or org/name in the cache.")
}

/// An adapter on top of a model.
struct AdapterOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A LoRA adapter of PEFT, merged into MODEL's weights as they are read; a folder with adapter_config.json.",
      valueName: "dir"))
  var adapter: String?
}

/// Where loading leaves what it has made.
struct CacheOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Leave the weights of an artifact in this folder as they are multiplied with, and map them next time: a file of "
        + "about the artifact's size, for this user alone, that may be deleted at any time.",
      valueName: "dir"))
  var weightCache: String?
}

/// Limits that decide the exit code.
struct GateOptions: ParsableArguments {
  @Option(name: .customLong("max-kl"), help: ArgumentHelp("Largest mean KL divergence, in nats.", valueName: "x"))
  var maxKL: String?

  @Option(help: ArgumentHelp("Largest increase of perplexity, such as 1% or 0.01.", valueName: "x"))
  var maxPplIncrease: String?

  @Option(
    name: .customLong("min-top1"),
    help: ArgumentHelp("Smallest share of positions with the same likeliest token, such as 95%.", valueName: "x"))
  var minTop1: String?

  func gate() throws -> Gate {
    Gate(
      maxKL: try maxKL.map { try Gate.divergence(parsing: $0, option: "--max-kl") },
      maxPerplexityIncrease: try maxPplIncrease.map { try Gate.fraction(parsing: $0, option: "--max-ppl-increase") },
      minTop1: try minTop1.map { try Gate.fraction(parsing: $0, option: "--min-top1", atMost: 1) })
  }
}

/// What verification reads.
struct TextOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Text to judge by: a UTF-8 file, .jsonl with a \"text\" a line, or builtin-heldout. May be repeated.",
      valueName: "file"))
  var text: [String] = []

  @Option(help: ArgumentHelp("The most tokens of text.", valueName: "n"))
  var tokens = 16_384

  @Option(
    name: .customLong("verify-seqlen"),
    help: ArgumentHelp("Tokens of a window; the model's positions bound it.", valueName: "n"))
  var window = 512

  @Flag(
    help: ArgumentHelp(
      "Leave activations float where a scheme says that runtimes round them (FP8, W8A8, NVFP4 …); rounded by default."))
  var floatActivations = false

  func validate() throws {
    if tokens < 2 { throw ValidationError("--tokens takes 2 or more") }
    if window < 2 { throw ValidationError("--verify-seqlen takes 2 or more") }
  }

  func apply(to request: inout Verification.Request) {
    if !text.isEmpty { request.texts = text }
    request.tokens = tokens
    request.sequenceLength = window
    request.roundsActivations = !floatActivations
  }
}

/// Puts the arithmetic of generation to the test.
struct GenerationArithmeticOptions: ParsableArguments {
  @Flag(
    help: ArgumentHelp(
      "Round activations to int8 where weights are integers and it was not measured to cost too much, as generate does "
        + "by itself, whatever a scheme says."))
  var int8Activations = false

  func check(against text: TextOptions) throws {
    if text.floatActivations, int8Activations {
      throw ValidationError("give either --float-activations or --int8-activations")
    }
  }
}

/// A number of bytes such as `8G`, `512M` or `1.5GiB`; G and GB are decimal, Gi and GiB binary.
struct ByteCount: ExpressibleByArgument {
  let bytes: Int

  init?(argument: String) {
    let text = argument.uppercased()
    let digits = text.prefix { $0.isNumber || $0 == "." }
    guard let number = Double(digits), number > 0 else { return nil }
    var unit = text.dropFirst(digits.count)
    if unit.hasSuffix("B") { unit = unit.dropLast() }
    let factors: [Substring: Double] = [
      "": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 1024, "MI": 1_048_576, "GI": 1_073_741_824,
      "TI": 1_099_511_627_776,
    ]
    guard let factor = factors[unit], number * factor < 9e18 else { return nil }
    bytes = Int(number * factor)
  }
}
