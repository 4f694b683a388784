// swift-tools-version: 6.2
import PackageDescription

/// Every Swift target is compiled this strictly.
let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .treatAllWarnings(as: .error),
]

/// One floor of the house: a library target and the floors it may use.
///
/// `swift build --explicit-target-dependency-import-check error` refuses any other import.
func floor(_ name: String, uses below: [Target.Dependency] = []) -> Target {
  .target(
    name: name, dependencies: below, swiftSettings: strict,
    linkerSettings: [.linkedLibrary("m", .when(platforms: [.linux]))])
}

/// The tests of one floor; they may use that floor and all below it.
func tests(of name: String, uses below: [Target.Dependency] = [], resources: [Resource] = []) -> Target {
  .testTarget(
    name: name + "Tests", dependencies: [.target(name: name), "TestSupport"] + below, resources: resources,
    swiftSettings: strict)
}

let package = Package(
  name: "quantize",
  products: [
    .executable(name: "quantize", targets: ["quantize"]),
    .library(name: "Pipeline", targets: ["Pipeline"]),
    .library(name: "Reports", targets: ["Reports"]),
    .library(name: "Calibration", targets: ["Calibration"]),
    .library(name: "Models", targets: ["Models"]),
    .library(name: "Checkpoints", targets: ["Checkpoints"]),
    .library(name: "Tokenizers", targets: ["Tokenizers"]),
    .library(name: "Quantization", targets: ["Quantization"]),
    .library(name: "Tensors", targets: ["Tensors"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", "1.8.0"..<"2.0.0"),
    .package(url: "https://github.com/apple/swift-crypto", "4.5.0"..<"5.0.0"),
    .package(url: "https://github.com/jpsim/Yams", "6.2.0"..<"7.0.0"),
  ],
  targets: [
    // attic
    .executableTarget(
      name: "quantize",
      dependencies: [
        "Pipeline", "Reports", "Calibration", "Models", "Checkpoints", "Tokenizers", "Quantization", "Kernels",
        "Tensors", "StrictJSON", "CKernels",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),
    // 7
    floor(
      "Pipeline",
      uses: [
        "Reports", "Calibration", "Models", "Checkpoints", "Tokenizers", "Quantization", "Kernels", "Tensors",
        "StrictJSON", "Builtin", "Yams", .product(name: "Crypto", package: "swift-crypto"),
      ]),
    // 5
    floor("Reports", uses: ["Models", "Checkpoints", "Quantization", "Kernels", "Tensors", "StrictJSON", "CKernels"]),
    floor("Calibration", uses: ["Models", "Quantization", "Kernels", "Tensors", "CKernels"]),
    // 4
    floor("Models", uses: ["Checkpoints", "Quantization", "Kernels", "Tensors", "StrictJSON"]),
    // 3
    floor(
      "Checkpoints",
      uses: [
        "Quantization", "Kernels", "Tensors", "StrictJSON", "CZstd",
        .product(name: "Crypto", package: "swift-crypto"),
      ]),
    floor("Tokenizers", uses: ["StrictJSON"]),
    // 2
    floor("Quantization", uses: ["Kernels", "Tensors", "CKernels"]),
    // 1
    floor("Kernels", uses: ["Tensors", "CKernels", "COpenBLAS"]),
    // 0
    floor("Tensors", uses: ["CKernels"]),
    floor("StrictJSON"),
    // The embedded model and the built-in texts: data, found through one accessor.
    .target(
      name: "Builtin", path: "calibration",
      exclude: ["README.md"],
      resources: [.copy("pocket-qwen2"), .copy("texts"), .copy("stories"), .copy("recipes")],
      swiftSettings: strict),
    // cellar
    .target(name: "CKernels"),
    .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    // tests
    .target(
      name: "TestSupport", dependencies: ["Checkpoints", "Tensors", "StrictJSON"], path: "Tests/TestSupport",
      swiftSettings: strict),
    .testTarget(
      name: "InteropTests", dependencies: ["Checkpoints", "Models", "StrictJSON", "Tensors"],
      resources: [.copy("Vectors")], swiftSettings: strict),
    // Compiled as a user's program would be, without our settings.
    .testTarget(name: "ReadmeTests", dependencies: ["Models", "Pipeline", "Quantization", "TestSupport"]),
    tests(of: "StrictJSON"),
    tests(of: "Tokenizers", uses: ["StrictJSON"], resources: [.copy("Vectors")]),
    tests(of: "Tensors", uses: ["CKernels"]),
    tests(
      of: "Checkpoints", uses: ["Quantization", "StrictJSON", "Tensors", "Kernels"], resources: [.copy("Vectors")]),
    tests(of: "Kernels", uses: ["Tensors", "CKernels"]),
    tests(of: "Reports", uses: ["Tensors", "StrictJSON"], resources: [.copy("Golden")]),
    tests(of: "Quantization", uses: ["Tensors", "CKernels", "Kernels"]),
    tests(of: "Calibration", uses: ["Models", "Checkpoints", "Quantization", "Kernels", "Tensors"]),
    tests(
      of: "Models", uses: ["Checkpoints", "Quantization", "Kernels", "Tensors", "StrictJSON"],
      resources: [.copy("Vectors"), .copy("Families")]),
    tests(
      of: "Pipeline",
      uses: [
        "Reports", "Calibration", "Models", "Checkpoints", "Tokenizers", "Quantization", "Kernels", "Tensors",
        "StrictJSON",
      ], resources: [.copy("Vectors")]),
    // The program as a process.
    .testTarget(
      name: "CommandTests", dependencies: ["quantize", "Checkpoints", "Tensors", "StrictJSON", "TestSupport"],
      resources: [.copy("Snapshots")], swiftSettings: strict),
  ],
  swiftLanguageModes: [.v6]
)
