import ArgumentParser
import Models
import Pipeline
import StrictJSON

extension Generate {
  static func validate(batches: [Int]) throws {
    guard batches.allSatisfy({ (1...Generator.mostTexts).contains($0) }) else {
      throw ValidationError("--batch takes 1 to \(Generator.mostTexts)")
    }
  }

  /// Continues the prompts of a file.
  func run(file: String, _ sampling: Sampling) throws {
    let statistics = try TextGeneration.run(
      model: model, adapter: adapterOptions.adapter, prompts: file, batch: batch, maximumTokens: maxTokens,
      sampling: sampling, activations: activations.value, weightCache: cacheOptions.weightCache,
      note: work.progress().note
    ) { text in
      let line = JSONValue.object([
        "index": .integer(text.index), "text": .string(text.text), "tokens": .integer(text.tokens),
        "finish": .string(text.finish.rawValue),
      ])
      StandardStream.output.write(line.compactText + "\n")
    }
    guard !work.quiet else { return }
    if work.json {
      StandardStream.error.write(
        JSONValue.object([
          "texts": .integer(statistics.texts), "promptTokens": .integer(statistics.promptTokens),
          "tokens": .integer(statistics.tokens), "secondsToLoad": .real(statistics.secondsToLoad),
          "seconds": .real(statistics.seconds), "tokensPerSecond": .real(statistics.tokensPerSecond),
          "tokensPerSecondOfText": .real(statistics.tokensPerSecondOfText),
          "cacheBytesPerToken": .integer(statistics.cacheBytesPerToken),
        ]).compactText + "\n")
    } else {
      Failure.say(
        "\(statistics.texts) texts, \(statistics.tokens) tokens after \(statistics.promptTokens) of prompts; "
          + "\(Output.number(statistics.tokensPerSecond, 1)) a second in all, "
          + "\(Output.number(statistics.tokensPerSecondOfText, 1)) of each text; "
          + "keys and values \(Output.number(Double(statistics.cacheBytesPerToken) / 1024, 0)) KiB a token")
    }
  }
}
