public import Foundation

/// Where the embedded model, the built-in texts and the recipes lie.
///
/// They are resources of this target. The generated accessor ends the process when they are not where the program was
/// built; a program that was installed elsewhere should rather say what is missing.
public enum Builtin {
  /// The name of the folder that lies beside the program.
  public static let name = "quantize_Builtin.resources"

  /// The folder with `pocket-qwen2`, `texts`, `stories` and `recipes`, or `nil` if it is nowhere to be found.
  ///
  /// It is looked for beside the program, in `../share/quantize` from there, and in the sources it was built from.
  public static let folder: URL? = {
    let program = (Bundle.main.executableURL ?? URL(filePath: CommandLine.arguments[0])).resolvingSymlinksInPath()
    let beside = program.deletingLastPathComponent()
    let candidates = [
      beside.appending(path: name), beside.deletingLastPathComponent().appending(path: "share/quantize/" + name),
      URL(filePath: #filePath).deletingLastPathComponent(),
    ]
    return candidates.first { FileManager.default.fileExists(atPath: $0.appending(path: "texts/prose.txt").path) }
  }()
}
