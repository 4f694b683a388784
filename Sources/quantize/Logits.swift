import ArgumentParser
import Checkpoints
import Foundation
import Models
import Pipeline
import StrictJSON
import Tensors
import Tokenizers

/// `quantize logits MODEL`.
struct Logits: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a model's logits for given token ids.",
    discussion: """
      The ids file holds a JSON array of ids: one text. The output is a safetensors file with one tensor "logits", F32 \
      [tokens, vocabulary], for comparison with other programs.
      """)

  @Argument(help: ModelHelp.any)
  var model: String

  @Option(help: ArgumentHelp("A JSON array of token ids.", valueName: "ids.json"))
  var tokens: String

  @Option(name: .shortAndLong, help: ArgumentHelp("The file to write.", valueName: "logits.safetensors"))
  var output: String

  @OptionGroup var adapterOptions: AdapterOptions
  @OptionGroup(title: "General") var work: WorkOptions

  func run() throws {
    work.apply()
    let data: Data
    do { data = try Data(contentsOf: URL(filePath: tokens)) } catch {
      throw PipelineError.input("cannot read \(tokens): \(error.localizedDescription)")
    }
    let json: JSONValue
    do { json = try JSONValue(parsing: data) } catch { throw PipelineError.input("\(tokens): \(error)") }
    guard let list = json.arrayValue, !list.isEmpty, list.allSatisfy({ $0.intValue != nil }) else {
      throw PipelineError.input("\(tokens): expected a JSON array of token ids")
    }
    let model = try ModelInputs.openModel(model, adapter: adapterOptions.adapter)
    let progress = work.progress()
    for warning in model.checkpoint.adapterWarnings { progress.note(warning) }
    let logits = try model.logits(of: list.compactMap(\.intValue)) { layer in
      progress.show(ProgressEvent("logits", done: layer + 1, of: model.configuration.layerCount, "layer \(layer)"))
    }
    progress.finish()
    let tensor = Tensor([logits.rows, logits.columns], floats: logits.values)
    var writer = try SafetensorsWriter(
      path: output, tensors: [TensorInfo(name: "logits", dtype: .float32, shape: tensor.shape)], metadata: [:])
    try writer.write(tensor, named: "logits")
    try writer.finish()
    if work.json {
      print(
        JSONValue.object(["file": .string(output), "shape": [.integer(logits.rows), .integer(logits.columns)]])
          .compactText)
    } else {
      print("\(output)  logits F32 \(tensor.shape)")
    }
  }
}

/// `quantize tokenize MODEL`.
struct Tokenize: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print the token ids of a text as a JSON array.",
    discussion: "No special tokens are added unless --special is given; those spelled out in the text count.")

  @Argument(help: ModelHelp.any)
  var model: String

  @Option(help: ArgumentHelp("A UTF-8 file.", valueName: "file"))
  var text: String?

  @Option(help: ArgumentHelp("The text itself.", valueName: "text"))
  var prompt: String?

  @Flag(help: "Add the tokens that the tokenizer puts around a text.")
  var special = false

  func run() throws {
    let content: String
    switch (text, prompt) {
    case (let file?, nil):
      guard let data = FileManager.default.contents(atPath: file) else {
        throw PipelineError.input("cannot read \(file)")
      }
      guard let valid = String(validating: data, as: UTF8.self) else {
        throw PipelineError.input("\(file) is not UTF-8")
      }
      content = valid
    case (nil, let prompt?): content = prompt
    default: throw PipelineError.usage("give either --text FILE or --prompt TEXT")
    }
    let inputs = try ModelInputs(try ModelInputs.openModel(model))
    let ids = special ? inputs.prompt(content) : inputs.tokenizer.encode(content, addingSpecialTokens: false)
    print("[" + ids.map(String.init).joined(separator: ",") + "]")
  }
}

/// `quantize generate MODEL`.
struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Continue a prompt, straight from a folder or an artifact.",
    discussion: """
      The text goes to standard output as it is made. Greedy unless --temperature is given.

      --prompts continues many texts, several at a time, so that each reading of the weights serves all of them: a file \
      with a JSON string a line, or {"prompt": …}, or {"messages": …} for the model's chat template. Each becomes a line \
      {"index", "text", "tokens", "finish": "end" or "length"}, in the order of the file. A text is what --prompt makes \
      of it alone; line i, from 0, draws with the seed n + i.
      """)

  @Argument(help: ModelHelp.any)
  var model: String

  @Option(help: ArgumentHelp("The text to continue.", valueName: "text"))
  var prompt: String?

  @Option(help: ArgumentHelp("A file of texts to continue, one a line, as JSON.", valueName: "file"))
  var prompts: String?

  @Option(
    help: ArgumentHelp(
      "With --prompts: texts at a time, up to \(Generator.mostTexts). Each holds its keys and values in memory; their "
        + "bytes a token are said at the end.",
      valueName: "n"))
  var batch = 8

  @Option(help: ArgumentHelp("The most tokens to make, of each text.", valueName: "n"))
  var maxTokens = 128

  @Option(help: ArgumentHelp("0 takes the likeliest token; 1 draws as the model believes.", valueName: "t"))
  var temperature: Float = 0

  @Option(
    name: .customLong("top-k"), help: ArgumentHelp("Draw from the likeliest k tokens; 0 from all.", valueName: "k"))
  var topK = 0

  @Option(
    name: .customLong("top-p"), help: ArgumentHelp("Draw from the likeliest tokens of this total.", valueName: "p"))
  var topP: Float = 1

  @Option(help: ArgumentHelp("The same seed draws the same text.", valueName: "n"))
  var seed: UInt64 = 0

  @Option(
    help: ArgumentHelp(
      "auto, float or int8: whether activations are rounded to int8, a scale for every 32, before they meet integer "
        + "weights. auto does where the run that quantized the model has found it to cost next to nothing, or has not "
        + "measured it; verify --int8-activations measures it again.",
      valueName: "how"))
  var activations = ActivationsArgument(.auto)

  @OptionGroup var cacheOptions: CacheOptions
  @OptionGroup var adapterOptions: AdapterOptions
  @OptionGroup(title: "General") var work: WorkOptions

  func validate() throws {
    if (prompt == nil) == (prompts == nil) { throw ValidationError("give either --prompt TEXT or --prompts FILE") }
    try Self.validate(batches: [batch])
    if maxTokens < 1 { throw ValidationError("--max-tokens takes 1 or more") }
    if !(temperature >= 0 && temperature.isFinite) { throw ValidationError("--temperature takes 0 or more") }
    if topK < 0 { throw ValidationError("--top-k takes 0 or more") }
    if !(topP > 0 && topP <= 1) { throw ValidationError("--top-p takes a number above 0, up to 1") }
  }

  func run() throws {
    work.apply()
    let sampling = Sampling(temperature: temperature, topK: topK, topP: topP, seed: seed)
    if let prompt { try run(prompt, sampling) }
    if let prompts { try run(file: prompts, sampling) }
  }

  private func run(_ prompt: String, _ sampling: Sampling) throws {
    let progress = work.progress()
    var pieces = ""
    let statistics = try TextGeneration.run(
      model: model, adapter: adapterOptions.adapter, prompt: prompt, maximumTokens: maxTokens, sampling: sampling,
      activations: activations.value, weightCache: cacheOptions.weightCache, note: progress.note
    ) { piece in
      pieces += piece
      guard !work.json else { return }
      StandardStream.output.write(piece)
    }
    if work.json {
      print(
        JSONValue.object([
          "prompt": .string(prompt), "text": .string(pieces), "promptTokens": .integer(statistics.promptTokens),
          "tokens": .integer(statistics.tokens), "secondsToLoad": .real(statistics.secondsToLoad),
          "secondsToFirstToken": .real(statistics.secondsToFirstToken),
          "tokensPerSecond": .real(statistics.tokensPerSecond), "activations": .string(statistics.activations),
        ]).compactText)
    } else {
      print()
      if !work.quiet {
        Failure.say(
          "\(statistics.tokens) tokens, \(Output.number(statistics.tokensPerSecond, 1)) a second; "
            + "first after \(Output.number(statistics.secondsToFirstToken, 2)) s; \(statistics.activations)")
      }
    }
  }
}

/// ``TextGeneration/Activations`` by name.
struct ActivationsArgument: ExpressibleByArgument {
  let value: TextGeneration.Activations

  init(_ value: TextGeneration.Activations) { self.value = value }

  init?(argument: String) {
    guard let value = TextGeneration.Activations(rawValue: argument.lowercased()) else { return nil }
    self.value = value
  }

  var defaultValueDescription: String { value.rawValue }

  static var allValueStrings: [String] { TextGeneration.Activations.allCases.map(\.rawValue) }
}
