import Checkpoints
import Models
import StrictJSON
import Tensors
import TestSupport
import Testing

@Suite struct TensorRulesTests {
  private static let bias = Tensor([64], floats: [Float](repeating: 0, count: 64), as: .bfloat16)

  @Test(arguments: [
    "model.embed_tokens.weight", "model.norm.weight", "model.layers.0.input_layernorm.weight",
    "model.layers.1.post_attention_layernorm.weight", "model.layers.1.mlp.down_proj.weight",
    "model.layers.0.self_attn.k_proj.bias",
  ])
  func `a missing tensor is named`(_ name: String) throws {
    var tiny = TinyModel(modelType: "qwen2")
    tiny.missing = [name]
    #expect {
      _ = try LanguageModel.tiny(tiny)
    } throws: {
      guard case .checkpoint(.missingTensor(name, _))? = $0 as? ModelError else { return false }
      return true
    }
  }

  @Test func `a missing head is named when the embedding does not stand for it`() throws {
    var tiny = TinyModel()
    tiny.tiesEmbeddings = false
    tiny.missing = ["lm_head.weight"]
    #expect {
      _ = try LanguageModel.tiny(tiny)
    } throws: {
      guard case .checkpoint(.missingTensor("lm_head.weight", _))? = $0 as? ModelError else { return false }
      return true
    }
  }

  @Test(arguments: [
    ("llama", "model.layers.0.self_attn.q_proj.bias"), ("qwen2", "model.layers.1.self_attn.o_proj.bias"),
    ("llama", "model.layers.1.mlp.down_proj.bias"),
  ])
  func `a bias that the configuration does not know is refused`(_ modelType: String, _ name: String) throws {
    var tiny = TinyModel(modelType: modelType)
    tiny.tensors[name] = Self.bias
    #expect {
      _ = try LanguageModel.tiny(tiny)
    } throws: {
      guard case .tensor(_, name, let problem)? = $0 as? ModelError else { return false }
      return problem.contains("no such bias")
    }
  }

  struct Wrong: Sendable, CustomTestStringConvertible {
    let name: String
    let tensor: Tensor
    var testDescription: String { "\(name) as \(tensor.dtype.rawValue) \(tensor.shape)" }
  }

  @Test(arguments: [
    Wrong(name: "model.layers.0.mlp.up_proj.weight", tensor: zeros([64, 96])),
    Wrong(name: "model.layers.0.mlp.up_proj.weight", tensor: zeros([96 * 64])),
    Wrong(name: "model.layers.1.self_attn.k_proj.weight", tensor: zeros([64, 64])),
    Wrong(name: "model.norm.weight", tensor: zeros([63])),
    Wrong(name: "model.embed_tokens.weight", tensor: zeros([271, 64])),
    Wrong(name: "model.norm.weight", tensor: Tensor(.int32, [64], bytes: [UInt8](repeating: 0, count: 256))),
    Wrong(
      name: "model.layers.0.mlp.up_proj.weight",
      tensor: Tensor(.float8E4M3, [96, 64], bytes: [UInt8](repeating: 0, count: 96 * 64))),
    Wrong(name: "model.norm.weight", tensor: Tensor(.float64, [64], bytes: [UInt8](repeating: 0, count: 512))),
  ])
  func `a tensor of another shape or type is refused with what was found and wanted`(_ wrong: Wrong) throws {
    var tiny = TinyModel()
    tiny.tensors[wrong.name] = wrong.tensor
    #expect {
      _ = try LanguageModel.tiny(tiny)
    } throws: {
      guard case .tensor(_, wrong.name, let problem)? = $0 as? ModelError else { return false }
      return problem.contains("\(wrong.tensor.dtype.rawValue) \(wrong.tensor.shape)") && problem.contains("needs")
    }
  }

  @Test(arguments: [DType.float16, .float32])
  func `halves and floats are read as well`(_ dtype: DType) throws {
    var tiny = TinyModel()
    tiny.dtype = dtype
    let logits = try LanguageModel.tiny(tiny).logits(of: [1, 2, 3])
    let bfloat16 = try LanguageModel.tiny(TinyModel()).logits(of: [1, 2, 3])
    // bfloat16 has 8 bits of significand; the model's three roundings a value stay within a few of its steps.
    let storageTolerance = 0.1
    #expect(Deviation.relative(logits.values, bfloat16.values) < storageTolerance)
    #expect(logits != bfloat16)
  }

  @Test func `tensors that nobody reads do not change the function`() throws {
    var tiny = TinyModel()
    tiny.tensors["model.layers.2.extra.weight"] = Self.bias
    let plain = try LanguageModel.tiny(TinyModel()).logits(of: [1, 2, 3])
    #expect(try LanguageModel.tiny(tiny).logits(of: [1, 2, 3]) == plain)
  }

  private static func zeros(_ shape: Shape) -> Tensor {
    Tensor(shape, floats: [Float](repeating: 0, count: shape.elementCount ?? 0), as: .bfloat16)
  }
}
