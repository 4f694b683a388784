import Foundation
import Kernels
import Pipeline
import StrictJSON

/// `quantize bench --model`: a whole model's speed.
enum ModelBench {
  static func run(
    _ model: String, _ activations: TextGeneration.Activations, prompt: Int, generated: Int, batches: [Int],
    rounds: Int, weightCache: String?, json: Bool
  ) throws {
    let speed = try GenerationSpeed.run(
      model: model, activations: activations, promptTokens: prompt, generatedTokens: generated, batches: batches,
      rounds: rounds, weightCache: weightCache, note: Progress(json: json, quiet: false).note)
    if json {
      print(
        JSONValue.object([
          "model": .string(model), "activations": .string(activations.rawValue),
          "activationWords": .string(speed.activations),
          "instructionSet": .string(InstructionSet.current.rawValue), "threads": .integer(Parallel.threads),
          "secondsToLoad": .real(speed.secondsToLoad), "promptTokens": .integer(prompt),
          "promptTokensPerSecond": .array(speed.prompt.map { .real($0) }), "generatedTokens": .integer(generated),
          "generated": .array(
            speed.generation.map { batch in
              .object(["texts": .integer(batch.texts), "tokensPerSecond": .array(batch.rates.map { .real($0) })])
            }),
        ]).compactText)
      return
    }
    print(
      "\(InstructionSet.current.rawValue) kernels, \(Parallel.threads) threads, \(speed.activations)")
    print("in memory after \(Output.number(speed.secondsToLoad, 2)) s")
    let generation = speed.generation.map { batch in
      (
        batch.texts == 1 ? "\(generated) tokens one by one" : "\(generated) of each of \(batch.texts) texts",
        batch.rates
      )
    }
    for (what, rates) in [("prompt of \(prompt) tokens", speed.prompt)] + generation {
      let sorted = rates.sorted()
      print(
        "\(what): \(Output.number(sorted[sorted.count / 2], 1)) tokens a second "
          + "(\(Output.number(sorted[0], 1))–\(Output.number(sorted[sorted.count - 1], 1)))")
    }
  }
}
