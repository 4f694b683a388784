import Checkpoints
import Foundation
import StrictJSON
import Tensors
import Testing

@Suite struct SafetensorsInteropTests {
  private static func python(_ arguments: [String]) throws -> (status: Int32, output: [UInt8]) {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["python3"] + arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return (process.terminationStatus, Array(output))
  }

  static let hasPython = (try? python(["-c", "import safetensors"]))?.status == 0

  @Test(.enabled(if: hasPython, "python3 cannot import safetensors here"))
  func `Python reads what we write`() throws {
    let folder = try ScratchFolder()
    let path = folder.path + "/ours.safetensors"
    let all = try SafetensorsFile(path: SafetensorsVectors.path("good/all-dtypes"))
    // Not the reference's order: unaligned tensors among them.
    let order =
      Array(all.tensors.reversed()) + [
        TensorInfo(name: "é \"\u{1}", dtype: .int8, shape: [0, 7]),
        TensorInfo(name: "scalar", dtype: .float32, shape: []),
      ]
    var writer = try SafetensorsWriter(path: path, tensors: order, metadata: ["format": "pt", "a": "\n"])
    for info in order {
      let empty = Tensor(info.dtype, info.shape, bytes: [UInt8](repeating: 9, count: info.byteCount))
      try writer.write(all.info(info.name) == nil ? empty : try all.tensor(info.name), named: info.name)
    }
    try writer.finish()
    let program = """
      import json, sys, safetensors
      raw = open(sys.argv[1], "rb").read()
      with safetensors.safe_open(sys.argv[1], "np") as f: metadata = f.metadata()
      told = {n: [t["dtype"], t["shape"], bytes(t["data"]).hex()] for n, t in safetensors.deserialize(raw)}
      print(json.dumps([metadata, told]))
      """
    let (status, output) = try Self.python(["-c", program, path])
    #expect(status == 0)
    let answer = try JSONValue(parsing: output).arrayValue ?? []
    #expect(answer.first?["format"] == "pt" && answer.first?["a"] == "\n")
    let tensors = try #require(answer.last?.objectValue)
    #expect(tensors.members.count == order.count)
    let ours = try SafetensorsFile(path: path)
    for info in order {
      let told = tensors[info.name]?.arrayValue
      #expect(told?[0] == .string(info.dtype.rawValue), "\(info.name)")
      #expect(told?[1] == .array(info.shape.extents.map(JSONValue.integer)), "\(info.name)")
      let hex = try ours.tensor(info.name).bytes.map { String(format: "%02x", $0) }.joined()
      #expect(told?[2] == .string(hex), "\(info.name)")
    }
  }
}
