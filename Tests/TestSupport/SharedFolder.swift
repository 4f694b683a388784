import Foundation

/// The folder of larger test material beside a checkout, where there is one.
///
/// Tests that need it are disabled, and say so, where it is missing.
public enum SharedFolder {
  /// The folder's path, or `nil`.
  public static let path: String? = {
    let repository = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let candidate =
      ProcessInfo.processInfo.environment["QUANTIZE_SHARED"]
      ?? repository.deletingLastPathComponent().appending(path: "shared").path
    return FileManager.default.fileExists(atPath: candidate + "/DESIGN.md") ? candidate : nil
  }()

  /// Whether the folder is there.
  public static var exists: Bool { path != nil }

  /// The repository that these tests belong to.
  public static let repository: String = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().path
}
