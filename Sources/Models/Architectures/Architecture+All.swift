extension Architecture {
  /// Every family, one file each; a new one is added here and nowhere else.
  public static let all: [Architecture] = [
    .llama, .mistral, .qwen2, .qwen3, .qwen2MoE, .qwen3MoE, .qwen3VLMoE, .mixtral, .gemma2, .gemma3, .phi3,
    .deepSeekV2, .deepSeekV3, .gptOSS, .olmo2, .olmo3, .olmoE, .granite, .graniteMoE, .smolLM3, .cohere, .cohere2, .glm,
    .glm4, .glm4MoE, .seedOSS, .exaone4, .ernie45, .hunYuanDense,
  ]
}
