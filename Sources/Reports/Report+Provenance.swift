extension Report {
  /// The full-precision model.
  public struct Reference: Sendable, Equatable {
    /// A name for people, such as the folder's or `org/name`.
    public var name: String
    /// SHA-256 over the model's files, such as `sha256:…`.
    public var digest: String
    /// Its scheme, where it is quantized itself, or its element type, such as `BF16`.
    public var scheme: String?

    /// A model that others are compared with.
    public init(name: String, digest: String, scheme: String? = nil) {
      self.name = name
      self.digest = digest
      self.scheme = scheme
    }
  }

  /// The model under test.
  public struct Candidate: Sendable, Equatable {
    /// A name for people, such as the artifact's file name.
    public var name: String
    /// SHA-256 of the artifact.
    public var digest: String
    /// The layout it is written in, such as `compressed-tensors pack-quantized`.
    public var format: String

    /// A model under test.
    public init(name: String, digest: String, format: String) {
      self.name = name
      self.digest = digest
      self.format = format
    }
  }

  /// The text that statistics for quantization were taken on.
  public struct Calibration: Sendable, Equatable {
    /// Where it came from, such as `builtin`.
    public var source: String
    /// Number of tokens used.
    public var tokens: Int
    /// Number of sequences.
    public var samples: Int
    /// SHA-256 of the text.
    public var digest: String
    /// How the number of sequences was found; empty where it was given.
    public var convergence: [Convergence]
    /// Whose inputs are worth rounding to int8; `nil` where no linear could take them.
    public var int8Activations: Int8Activations?

    /// What a number of sequences leaves to be gained.
    public struct Convergence: Sendable, Equatable {
      /// Number of sequences.
      public var samples: Int
      /// Squared error of the first layer's linears once rounded, over the square of what they give.
      public var error: Double

      /// A number of sequences and its error.
      public init(samples: Int, error: Double) {
        self.samples = samples
        self.error = error
      }
    }

    /// A calibration text.
    public init(source: String, tokens: Int, samples: Int, digest: String, convergence: [Convergence] = []) {
      self.source = source
      self.tokens = tokens
      self.samples = samples
      self.digest = digest
      self.convergence = convergence
    }
  }

  /// The text that accuracy was measured on.
  public struct Text: Sendable, Equatable {
    /// Where it came from.
    public var source: String
    /// Number of tokens read.
    public var tokens: Int
    /// Tokens per window.
    public var windowLength: Int
    /// SHA-256 of the text.
    public var digest: String

    /// A text to measure on.
    public init(source: String, tokens: Int, windowLength: Int, digest: String) {
      self.source = source
      self.tokens = tokens
      self.windowLength = windowLength
      self.digest = digest
    }
  }

  /// What was rounded besides the weights, as a runtime of the candidate's schemes does.
  public struct Arithmetic: Sendable, Equatable {
    /// What became of some numbers.
    public enum Rounding: String, Sendable, CaseIterable {
      /// They stayed floats.
      case float
      /// They were rounded to the scheme's format and back.
      case rounded
      /// Integer weights were multiplied with int8, one scale for every 32 features, whatever the scheme says; never of
      /// keys and values.
      case int8
    }

    /// What linears of the candidate read.
    public var activations: Rounding
    /// What attention keeps.
    public var keysAndValues: Rounding
    /// Linears that kept float activations beside others in ``Rounding/int8``, because a measurement said so; `nil`
    /// where nothing was measured.
    public var floatLinears: Int?

    /// What was rounded.
    public init(activations: Rounding, keysAndValues: Rounding, floatLinears: Int? = nil) {
      self.activations = activations
      self.keysAndValues = keysAndValues
      self.floatLinears = floatLinears
    }

    /// Such as `activations rounded as a runtime does, keys and values float`.
    public var sentence: String {
      func say(_ rounding: Rounding) -> String {
        switch rounding {
        case .float: "float"
        case .rounded: "rounded as a runtime does"
        case .int8: "int8 as in generation" + (floatLinears.map { ", but for \(NumberText.count($0)) linears" } ?? "")
        }
      }
      return "activations \(say(activations)), keys and values \(say(keysAndValues))"
    }
  }

  /// Where the run took place.
  public struct Machine: Sendable, Equatable {
    /// The processor's name.
    public var cpu: String
    /// Number of cores that were used.
    public var cores: Int
    /// The instruction set that the kernels were chosen for, such as `avx512`.
    public var instructionSet: String
    /// The library of matrix products and its version.
    public var blas: String
    /// Main memory, bytes.
    public var memory: Int

    /// A machine.
    public init(cpu: String, cores: Int, instructionSet: String, blas: String, memory: Int) {
      self.cpu = cpu
      self.cores = cores
      self.instructionSet = instructionSet
      self.blas = blas
      self.memory = memory
    }
  }

  /// One stage of the run.
  public struct Stage: Sendable, Equatable {
    /// Its name, such as `calibrate`; names differ within a report.
    public var name: String
    /// Wall-clock time, seconds.
    public var seconds: Double

    /// A stage and its time.
    public init(name: String, seconds: Double) {
      self.name = name
      self.seconds = seconds
    }
  }
}
