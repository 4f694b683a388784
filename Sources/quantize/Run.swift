import ArgumentParser
import Calibration
import Checkpoints
import Foundation
import Models
import Pipeline
import Quantization
import Reports
import StrictJSON

/// Options that make a recipe.
struct RecipeOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "How weights are stored: " + QuantizationScheme.all.map(\.name).joined(separator: ", ") + " (any case).",
      valueName: "name"))
  var scheme: String?

  @Option(
    help: ArgumentHelp(
      "Bits of an integer weight: \(QuantizationScheme.integerBits.map(String.init).joined(separator: ", ")); with EC, "
        + "the mean bits of the layers' linears, such as 3.6 (default 4).", valueName: "n"))
  var bits: Double?

  @Option(
    help: ArgumentHelp(
      "How weights are prepared: " + Method.allCases.map(\.rawValue).joined(separator: ", ")
        + " (rtn rounds to nearest, gptq feeds errors back).", valueName: "name"))
  var method: String?

  @Option(help: ArgumentHelp("With EC: the artifact's size at most, such as 3.2G.", valueName: "size"))
  var targetSize: ByteCount?

  @Option(
    help: ArgumentHelp(
      "Weights of a row that share a scale: 32, 64, 128, 256…, or -1 for the whole row.", valueName: "n"))
  var groupSize: Int?

  @Option(
    help: ArgumentHelp(
      "Linear to keep in full precision: its name, or re: and a regular expression for the whole name. May be repeated.",
      valueName: "pattern"))
  var ignore: [String] = []

  @Option(
    help: ArgumentHelp(
      "lm_head or model.embed_tokens, to be quantized as well (they are kept otherwise). May be repeated.",
      valueName: "pattern"))
  var include: [String] = []

  @Option(help: ArgumentHelp("A recipe file in YAML; options on the command line win over it.", valueName: "file"))
  var recipe: String?

  @Option(
    help: ArgumentHelp(
      "Calibration text: builtin, a UTF-8 file, or .jsonl with a \"text\" a line. May be repeated.", valueName: "file"))
  var calibration: [String] = []

  @Option(
    help: ArgumentHelp(
      "The most windows of calibration text; by default as many as lower the error of the first layer, at most "
        + "\(Recipe.mostSamples).", valueName: "n"))
  var samples: Int?

  @Option(help: ArgumentHelp("Tokens of a calibration window (default 512).", valueName: "n"))
  var seqlen: Int?

  @Option(
    help: ArgumentHelp(
      "An expert that fewer calibration tokens come to gets further samples, where there are some (default 128).",
      valueName: "n"))
  var expertTokens: Int?

  @Option(
    help: ArgumentHelp(
      "How runtimes are to keep keys and values: fp8, int8 or none; calibrates two scales a layer.", valueName: "format"
    ))
  var kvCache: String?

  func make() throws -> Recipe {
    var result = Recipe()
    if let recipe {
      let data: Data
      do { data = try Data(contentsOf: URL(filePath: recipe)) } catch {
        throw PipelineError.usage("cannot read the recipe \(recipe): \(error.localizedDescription)")
      }
      result = try Recipe(yaml: String(decoding: data, as: UTF8.self), file: recipe)
    }
    if let scheme {
      guard let found = QuantizationScheme.named(scheme) else {
        throw PipelineError.usage(
          "--scheme \(scheme) is not known; known are "
            + "\(QuantizationScheme.all.map(\.name).joined(separator: ", ")), EC")
      }
      result.scheme = found
    }
    if let rate = bits, !result.scheme.isEntropyCoded {
      let bits = Int(rate.rounded(.towardZero))
      guard Double(bits) == rate, QuantizationScheme.integerBits.contains(bits) else {
        throw PipelineError.usage(
          "--bits \(rate): expected \(QuantizationScheme.integerBits.map(String.init).joined(separator: ", "))")
      }
      guard let found = result.scheme.withBits(bits) else {
        throw PipelineError.usage("--bits is given, but the weights of \(result.scheme.name) are no integers")
      }
      guard scheme == nil || found.weights.format == result.scheme.weights.format else {
        throw PipelineError.usage("--scheme \(result.scheme.name) and --bits \(bits) disagree; give one of them")
      }
      result.scheme = found
    }
    if let groupSize {
      guard result.scheme.hasGroups else {
        throw PipelineError.usage("--group-size is given, but \(result.scheme.name) has no groups")
      }
      guard groupSize == -1 || (16...65_536).contains(groupSize) else {
        throw PipelineError.usage("--group-size \(groupSize): expected 16 or more, or -1 for the whole row")
      }
      result.scheme = result.scheme.withGroupSize(groupSize == -1 ? nil : groupSize)
    }
    if let method {
      guard let found = Method(rawValue: method.lowercased()) else {
        throw PipelineError.usage(
          "--method \(method) is not known; known are \(Method.allCases.map(\.rawValue).joined(separator: ", "))")
      }
      result.method = found
    }
    try addRate(to: &result)
    if let kvCache {
      result.kvCache = CacheQuantization.Format(rawValue: kvCache.lowercased())
      guard result.kvCache != nil || kvCache.lowercased() == "none" else {
        throw PipelineError.usage("--kv-cache \(kvCache) is not known; known are fp8, int8, none")
      }
    }
    result.ignore += ignore
    result.include += include
    if !calibration.isEmpty { result.calibration = calibration }
    if let samples { result.samples = try positive(samples, "--samples") }
    if let seqlen { result.sequenceLength = try positive(seqlen, "--seqlen") }
    if let expertTokens {
      guard expertTokens > 0 else { throw PipelineError.usage("--expert-tokens \(expertTokens): expected 1 or more") }
      result.expertTokens = expertTokens
    }
    return result
  }

  private func addRate(to recipe: inout Recipe) throws {
    guard recipe.scheme.isEntropyCoded else {
      guard targetSize == nil else {
        throw PipelineError.usage("--target-size is for --scheme EC; the size of \(recipe.scheme.name) is what it is")
      }
      return
    }
    guard bits == nil || targetSize == nil else {
      throw PipelineError.usage("--bits and --target-size say the same thing; give one of them")
    }
    if let bits {
      guard (1...8).contains(bits) else { throw PipelineError.usage("--bits \(bits): expected 1 to 8") }
      recipe.rate = .bits(bits)
    }
    if let targetSize { recipe.rate = .bytes(targetSize.bytes) }
  }

  private func positive(_ value: Int, _ option: String) throws -> Int {
    guard value > 1 else { throw PipelineError.usage("\(option) \(value): expected 2 or more") }
    return value
  }
}

/// `quantize MODEL -o OUT`: the main job.
struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Quantize a model into an artifact, and verify it (the default command).",
    discussion: """
      Plans first and refuses what cannot fit; writes OUT.partial and renames it when it is whole; then loads the \
      artifact with the quantized kernels, runs held-out text through it and the original, and writes a report beside it.

      Reads these families, by the model_type of config.json: \(Architecture.all.flatMap(\.modelTypes).joined(separator: ", ")); \
      in full precision, or stored as AutoAWQ, GPTQ, FP8, MXFP4, NVFP4 or compressed-tensors. A linear that is stored \
      quantized and is to be kept keeps its codes.

      A width that the group size does not divide gets a smaller group, and the report says so. A fold of \
      activation-aware scales that does not lower the held-out loss of its block is dropped.

      EXAMPLES
        quantize ./llama -o llama.tar.zst
        quantize ./llama -o fp8.tar.zst --scheme FP8_DYNAMIC --max-kl 0.01
        quantize ./llama -o small.tar.zst --scheme EC --bits 3.6
        quantize ./llama -o small.tar.zst --scheme EC --max-kl 0.02
        quantize ./llama -o llama/ --group-size 64 --ignore 're:.*down_proj'
        quantize Qwen/Qwen2.5-0.5B -o q.tar.zst --calibration chats.jsonl
        quantize ./llama --adapter ./my-lora -o llama-mine.tar.zst
      """)

  @Argument(help: ModelHelp.source)
  var model: String

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("NAME.tar.zst, or NAME/ for a folder of the same files uncompressed.", valueName: "out"))
  var output: String

  @OptionGroup var adapterOptions: AdapterOptions
  @OptionGroup(title: "What to do") var recipeOptions: RecipeOptions
  @OptionGroup(title: "Limits") var gateOptions: GateOptions
  @OptionGroup(title: "Verification") var textOptions: TextOptions

  @Flag(help: "Do not verify.")
  var noVerify = false

  @Option(help: ArgumentHelp("Folder of the report (default NAME.report beside the artifact).", valueName: "dir"))
  var report: String?

  @Option(
    help: ArgumentHelp(
      "Memory the run may need, such as 8G: texts move in smaller chunks and wait on disk to stay below; exit 5 if it "
        + "cannot.", valueName: "size"))
  var maxMemory: ByteCount?

  @Flag(help: "Continue what an interrupted run has left; the result has the same bytes.")
  var resume = false

  @Flag(help: "Replace an output that is there already.")
  var force = false

  @OptionGroup(title: "General") var work: WorkOptions

  func run() throws {
    work.apply()
    let gate = try gateOptions.gate()
    if noVerify && !gate.isEmpty { throw PipelineError.usage("--no-verify leaves nothing to hold the limits against") }
    if resume, !force, Output.isFinished(output) {
      throw PipelineError.usage(
        "\(Output.trimmed(output)) is complete, there is nothing to resume; compare it with `quantize verify`")
    }
    try Output.check(output, force: force)
    var request = QuantizationRun.Request(model: model, output: output, recipe: try recipeOptions.make())
    request.adapter = adapterOptions.adapter
    request.resumes = resume
    request.maximumMemory = maxMemory?.bytes
    let progress = work.progress()
    // Without another rate the limit is one: the smallest file that holds it is looked for.
    if request.recipe.usesEntropyCoding, request.recipe.rate == nil, let limit = gate.maxKL {
      request.recipe.rate = .divergence(limit)
    }
    let run = try QuantizationRun(request)
    var verification = Verification.Request(reference: model, candidate: Output.trimmed(output))
    textOptions.apply(to: &verification)
    verification.adapter = adapterOptions.adapter
    verification.gate = gate
    if !noVerify {
      try Verification.checkInputs(verification, reference: run.model)
      let needed = Verification.peakMemory(of: run.model, tokens: verification.tokens)
      if let limit = maxMemory?.bytes, needed > limit {
        throw PipelineError.doesNotFit(
          "verification needs about \(Output.size(needed)) of memory, --max-memory allows \(Output.size(limit)); "
            + "verify elsewhere and give --no-verify, or verify fewer --tokens")
      }
    }
    // A file stays until its successor is whole; a folder cannot be replaced so.
    if force && output.hasSuffix("/") { try Output.remove(output) }
    for remark in run.remarks { progress.note(remark) }
    let path = Output.trimmed(output)
    guard !noVerify else {
      let outcome = try made(run, progress)
      progress.finish()
      if work.json {
        print(
          JSONValue.object([
            "artifact": .string(path), "bytes": .integer(outcome.summary.byteCount),
            "sha256": .string(outcome.summary.sha256),
          ]).compactText)
      } else {
        print("\(path)  \(Output.size(outcome.summary.byteCount))  sha256 \(outcome.summary.sha256)")
      }
      return
    }
    let found = try report(of: run, verification, progress)
    progress.finish()
    let folder = report ?? ReportFolder.beside(output)
    try ReportFolder.write(found, to: folder)
    try Output.show(found, json: work.json, folder: folder)
  }
}

/// `quantize plan MODEL`: what a run would do and take.
struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Show what a run would write and need, without doing it.",
    discussion: "Reads headers and the tokenizer only. Exit 5 if it cannot fit.")

  @Argument(help: ModelHelp.source)
  var model: String

  @Option(name: .shortAndLong, help: ArgumentHelp("Where it would be written.", valueName: "out"))
  var output = "./out.tar.zst"

  @OptionGroup var adapterOptions: AdapterOptions
  @OptionGroup(title: "What to do") var recipeOptions: RecipeOptions

  @Option(
    help: ArgumentHelp(
      "Memory the run may need, such as 8G: smaller chunks and files are planned to stay below.", valueName: "size"))
  var maxMemory: ByteCount?

  @Option(
    name: .customLong("max-kl"),
    help: ArgumentHelp("With EC: the largest mean KL divergence, in nats, in place of a rate.", valueName: "x"))
  var maxKL: String?

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    var request = QuantizationRun.Request(model: model, output: output, recipe: try recipeOptions.make())
    request.adapter = adapterOptions.adapter
    request.maximumMemory = maxMemory?.bytes
    if let maxKL {
      let limit = try Gate.divergence(parsing: maxKL, option: "--max-kl")
      if request.recipe.usesEntropyCoding, request.recipe.rate == nil { request.recipe.rate = .divergence(limit) }
    }
    let run = try QuantizationRun(request)
    let size = try run.expectedSize()
    let source = run.model.checkpoint.weights.tensors.reduce(0) { $0 + $1.byteCount }
    var groups: [(String, Int)] = []
    for linear in run.plan.linears {
      let title =
        linear.scheme.map { "\($0.name), \($0.weights.granularity.phrase), \(linear.method.rawValue)" } ?? "kept"
      if let index = groups.firstIndex(where: { $0.0 == title }) {
        groups[index].1 += 1
      } else {
        groups.append((title, 1))
      }
    }
    if json {
      print(
        JSONValue.object([
          "sourceBytes": .integer(source), "outputBytesBeforeCompression": .integer(run.plan.byteCount),
          "expectedOutputBytes": size.byteCount.map { .integer($0) } ?? .null,
          "peakMemory": .integer(run.expectedMemory),
          "calibration": run.calibrationAmount.map { .string($0) } ?? .null,
          "linears": .object(JSONObject(groups.map { .init($0.0, .integer($0.1)) })),
          "remarks": .array(run.remarks.map { .string($0) }),
        ]).prettyText, terminator: "")
      return
    }
    print("source    \(Output.size(source)) of tensors")
    print("output    \(size.phrase)")
    if let calibration = run.calibrationAmount { print("text      \(calibration)") }
    print(
      "memory    about \(Output.size(run.expectedMemory)) at the highest"
        + (run.memory.spills ? ", hidden states in a file" : ""))
    for (title, count) in groups { print("linears   \(count) × \(title)") }
    for remark in run.remarks { print("note      \(remark)") }
  }
}
