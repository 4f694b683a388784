import ArgumentParser
import Foundation
import Pipeline

/// The program: subcommands, and nothing else.
struct Quantize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quantize",
    abstract: "Make a large language model small, and prove what that cost.",
    discussion: """
      quantize reads a Hugging Face checkpoint, in full precision or quantized elsewhere, runs calibration text through it, quantizes its \
      linears (AWQ 4-bit integers, float8 and others), writes one compressed artifact, loads that artifact with its own \
      kernels and compares it with the original on text it has not seen. No Python, no GPU.

      MODEL is a folder, one safetensors file, an artifact (.tar.zst), or org/name[@revision] in the Hugging Face cache.

      EXAMPLES
        quantize Qwen/Qwen2.5-7B-Instruct -o qwen-w4.tar.zst
        quantize ./llama -o llama-fp8.tar.zst --scheme FP8_DYNAMIC --max-kl 0.01
        quantize verify ./llama llama-fp8.tar.zst --text holdout.txt --min-top1 97%
        quantize convert ./llama-awq -o llama-ct/ --to compressed-tensors
        quantize generate llama-fp8.tar.zst --prompt "Once upon a time"

      EXIT CODES
        0  done, and within the limits        4  accuracy is worse than allowed
        1  internal error                     5  does not fit in memory or on disk
        2  wrong usage                        6  interrupted; --resume continues
        3  refused input                      7  an artifact failed its checks

      Results go to standard output, progress to standard error: a bar on a terminal, otherwise one line of JSON for \
      each event. NO_COLOR and CI are honoured; QUANTIZE_ISA=portable|avx2|avx512|neon forces a set of kernels.
      """,
    version: "quantize \(SystemFacts.version)",
    subcommands: [
      Run.self, PlanCommand.self, Convert.self, Merge.self, Verify.self, Evaluate.self, Logits.self, Tokenize.self,
      Inspect.self, Generate.self, Bench.self, Demo.self,
    ],
    defaultSubcommand: Run.self)
}

@main
struct Main {
  static func main() {
    Signals.install()
    do {
      try Signals.checkInstructionSet()
      var command = try Quantize.parseAsRoot()
      try command.run()
    } catch {
      exit(Failure.report(error))
    }
  }
}
