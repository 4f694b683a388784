internal import Checkpoints
internal import Foundation
internal import Models

/// A folder in which generation leaves what loading has made of an artifact, so that the next start maps it.
///
/// A cache is a convenience: whatever is wrong with it is said, and the artifact is decoded.
struct WeightCacheFolder {
  private let folder: String
  private let artifact: String
  private let note: (String) -> Void
  /// Whether the model came out of the cache.
  private var isUsed = false

  /// The cache of a model; `nil` where none is asked for.
  ///
  /// - Throws: where there is nothing that a cache could be of.
  init?(_ folder: String?, of model: LanguageModel, note: @escaping (String) -> Void) throws {
    guard let folder else { return nil }
    guard model.checkpoint.adapter == nil else {
      throw PipelineError.usage(
        "--weight-cache keeps an artifact's own weights; merge the adapter first: quantize merge")
    }
    guard case .artifact(let artifact) = model.checkpoint.format else {
      throw PipelineError.usage(
        "--weight-cache is for artifacts, which say what is in them; \(model.checkpoint.name) is none")
    }
    self.folder = folder
    self.artifact = try artifact.recordedSHA256()
    self.note = note
  }

  /// Loads a model, out of what is kept if that is whole.
  mutating func load(_ model: LanguageModel) throws(ModelError) -> ResidentModel {
    var model = model
    do {
      if let cache = try WeightCache.open(in: folder, artifact: artifact) {
        try model.use(cache)
        isUsed = true
      }
    } catch {
      note("the weight cache is made again: \(error)")
    }
    return try ResidentModel(model)
  }

  /// Keeps what was loaded, unless it came from here.
  func keep(_ resident: ResidentModel, of model: LanguageModel) {
    guard !isUsed else { return }
    do {
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      guard let path = try resident.writeCache(in: folder, of: model, artifact: artifact) else { return }
      note("\(path) is what the next start maps")
    } catch let error as CocoaError {
      note("the weights are not kept: cannot make the folder \(folder): \(error.localizedDescription)")
    } catch {
      note("the weights are not kept: \(error)")
    }
  }
}
