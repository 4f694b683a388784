internal import Builtin
internal import Foundation

/// The embedded model.
public enum DemoModel {
  /// Its folder.
  public static var path: String {
    (Builtin.folder ?? URL(filePath: Builtin.name)).appending(path: "pocket-qwen2").path
  }
}
