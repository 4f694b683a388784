public import Foundation

/// Where the embedded model, the built-in texts and the recipes lie: in this target's resource bundle.
public enum Builtin {
  /// The folder with `pocket-qwen2`, `texts`, `stories` and `recipes`.
  public static var folder: URL { Bundle.module.bundleURL }
}
