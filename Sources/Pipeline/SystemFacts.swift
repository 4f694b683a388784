internal import Foundation
internal import Kernels
public import Reports

/// What this program and this machine are, for reports.
public enum SystemFacts {
  /// The program's version.
  public static let version = "0.1.0"

  /// Bytes of memory this process has had in use at most, mapped files included.
  public static var peakMemory: Int { status("VmHWM") }

  private static func status(_ key: String) -> Int {
    guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else { return 0 }
    let line = text.split(separator: "\n").first { $0.hasPrefix(key + ":") }
    return (line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) } ?? 0) * 1024
  }

  /// The machine.
  public static var machine: Report.Machine {
    let cpu = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?
      .split(separator: "\n").first { $0.hasPrefix("model name") }?
      .split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) }
    return Report.Machine(
      cpu: cpu ?? "unknown", cores: ProcessInfo.processInfo.activeProcessorCount,
      instructionSet: InstructionSet.current.rawValue, blas: MatrixProduct.library,
      memory: Int(ProcessInfo.processInfo.physicalMemory))
  }

  /// Bytes free at a path's volume for an ordinary user.
  public static func freeSpace(at path: String) -> Int? {
    var folder = URL(filePath: path).deletingLastPathComponent()
    if folder.path.isEmpty { folder = URL(filePath: ".") }
    let attributes = try? FileManager.default.attributesOfFileSystem(forPath: folder.path)
    return (attributes?[.systemFreeSize] as? NSNumber)?.intValue
  }

  /// Seconds of a clock that never goes back.
  public static var uptime: Double { ProcessInfo.processInfo.systemUptime }
}
